import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { Checkout } from "@wzrdcheckout/widget/react";
import { openOrder } from "./order.js";

function Shop({ order, base, session }) {
	const [shown, setShown] = useState(true);
	const [locale, setLocale] = useState("en");
	const [status, setStatus] = useState("open");
	const [problem, setProblem] = useState("");
	return (
		<main>
			<h1>Lamp “Kobza”, €39.00</h1>
			<p>
				Order <b id="order">{order}</b>: <b id="status">{status}</b>
			</p>
			<select id="language" value={locale} onChange={(e) => setLocale(e.target.value)}>
				<option value="en">English</option>
				<option value="uk">Українська</option>
			</select>
			<button id="toggle" onClick={() => setShown(!shown)}>{shown ? "Pay later" : "Pay now"}</button>
			{shown && (
				<Checkout
					base={base}
					session={session}
					locale={locale}
					onStatus={({ status }) => setStatus(status)}
					onError={({ message }) => setProblem(message)}
				/>
			)}
			<p id="problem">{problem}</p>
		</main>
	);
}

const root = createRoot(document.querySelector("#app"));
openOrder().then(
	(order) => root.render(<StrictMode><Shop {...order} /></StrictMode>),
	(err) => root.render(<p>{err.message}</p>),
);

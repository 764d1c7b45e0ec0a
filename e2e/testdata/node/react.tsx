import { StrictMode, useRef } from "react";
import { Checkout, type CheckoutHandle } from "@wzrdcheckout/widget/react";

export function Shop({ token }: { token: string | undefined }) {
	const handle = useRef<CheckoutHandle>(null);
	return (
		<StrictMode>
			<Checkout
				ref={handle}
				base="https://pay.shop.example"
				session={token}
				id="pay"
				className="pay"
				style={{ maxWidth: 480 }}
				data-test="pay"
				locale="uk"
				layout="grid"
				appearance={{ theme: "dark", variables: { accent: "#0a7d5a" } }}
				redirect="popup"
				selected="payment_card_eur_hpp"
				first={["payment_card_eur_hpp"]}
				hide={[]}
				onReady={({ session }) => console.log(session.id)}
				onStatus={({ status }) => console.log(status === "paid")}
				onError={({ code, field }) => console.log(code === "network", field)}
			/>
			<button onClick={() => handle.current?.submit()}>{handle.current?.state?.step}</button>
			<wzrd-checkout session={token} locale="uk" />
			{/* @ts-expect-error a base is needed */}
			<Checkout session={token} />
			{/* @ts-expect-error no such option */}
			<Checkout base="https://pay.shop.example" session={token} theme="dark" />
			{/* @ts-expect-error no such status */}
			<Checkout base="https://pay.shop.example" session={token} onStatus={({ status }) => status === "payed"} />
		</StrictMode>
	);
}

"use client";
import { createElement, forwardRef, useEffect, useImperativeHandle, useRef } from "react";
import { attach } from "./attach.js";

const ofElement = /^(id|className|style|data-.+|aria-.+)$/;

export const Checkout = forwardRef(function Checkout(props, ref) {
	const place = useRef(null);
	const widget = useRef(null);
	const attributes = {}, options = {};
	for (const name in props) (ofElement.test(name) ? attributes : options)[name] = props[name];
	// An effect that runs twice, as in StrictMode, ends what it began: there is one widget.
	useEffect(() => {
		const mine = widget.current = attach(place.current);
		return () => {
			mine.end();
			widget.current = null;
		};
	}, []);
	useEffect(() => widget.current.set(options));
	useImperativeHandle(ref, () => ({
		submit: () => widget.current?.submit(),
		get state() {
			return widget.current?.state ?? null;
		},
	}), []);
	return createElement("div", { ...attributes, ref: place });
});

/** A page of its own for the bindings: React, axios and the fetch wrapper around `window.session`. */
import axios from "axios";
import { createElement, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { usePorteroWithAxios } from "@portero/browser/axios";
import { apiOf } from "@portero/browser/fetch";
import { PorteroProvider, usePortero } from "@portero/browser/react";

declare global {
  interface Window {
    renderReact(): void;
    /** Every state the hook rendered. */
    rendered: string[];
    returned: string[];
    axiosPost(url: string, data: unknown): Promise<unknown>;
    api: typeof apiOf;
  }
}

window.rendered = [];
window.returned = [];
window.renderReact = () => {
  const App = () => {
    const { state, signedIn, signIn } = usePortero();
    window.rendered.push(state);
    return createElement("button", { id: "state", onClick: () => void signIn({ returnTo: "/orders" }) }, signedIn ? "signed in" : state);
  };
  const root = document.body.appendChild(document.createElement("div"));
  createRoot(root).render(
    createElement(
      StrictMode,
      null,
      createElement(PorteroProvider, { session: window.session, onSignedIn: (to) => window.returned.push(to) }, createElement(App)),
    ),
  );
};
window.axiosPost = async (url, data) => {
  const instance = axios.create();
  const undo = usePorteroWithAxios(instance, window.session);
  const { data: answer } = await instance.post<unknown>(url, data);
  undo();
  return answer;
};
window.api = apiOf;

// Puts the page together: who is signed in, what has been asked, and which page the address means.

import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Router } from "wouter";
import { App } from "./app";
import { SignIn } from "./pages/signin";
import { queries } from "./queries";
import { SessionGate } from "./session";
import { applyTheme } from "./theme";
import "./style/base.css";
import "./style/parts.css";
import "./style/pages.css";

applyTheme();
const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root.");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <Router base="/dashboard">
        <SessionGate signIn={(enter) => <SignIn enter={enter} />}>
          <App />
        </SessionGate>
      </Router>
    </QueryClientProvider>
  </StrictMode>,
);

// Light or dark: as the machine says, until somebody chooses.

import { useEffect, useState } from "react";

const ITEM = "sendarix.theme";
export type Theme = "light" | "dark";

const machine = matchMedia("(prefers-color-scheme: dark)");

export function currentTheme(): Theme {
  const chosen = localStorage.getItem(ITEM);
  if (chosen === "light" || chosen === "dark") return chosen;
  return machine.matches ? "dark" : "light";
}

export function applyTheme(): void {
  document.documentElement.dataset["theme"] = currentTheme();
}

/** The theme and how to change it; what draws by itself draws anew when it changes. */
export function useTheme(): [Theme, () => void] {
  const [theme, setTheme] = useState(currentTheme);
  useEffect(() => {
    const follow = () => {
      applyTheme();
      setTheme(currentTheme());
    };
    machine.addEventListener("change", follow);
    addEventListener(CHANGED, follow);
    return () => {
      machine.removeEventListener("change", follow);
      removeEventListener(CHANGED, follow);
    };
  }, []);
  const toggle = () => {
    localStorage.setItem(ITEM, currentTheme() === "dark" ? "light" : "dark");
    dispatchEvent(new Event(CHANGED));
  };
  return [theme, toggle];
}

const CHANGED = "sendarix-theme";

// The frame around every page: where one is, whether it is live, as whom, and the way out.

import { useEffect, useRef, useState } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { type FeedState, useFeed } from "./feed";
import { Alerts } from "./pages/alerts";
import { DeadLetters } from "./pages/deadletters";
import { MessagePage } from "./pages/message";
import { Messages } from "./pages/messages";
import { Overview } from "./pages/overview";
import { Queues } from "./pages/queues";
import { Sandbox, SandboxMailPage } from "./pages/sandbox";
import { WebhookPage } from "./pages/webhook";
import { Webhooks } from "./pages/webhooks";
import { Empty } from "./parts/notice";
import { useSession } from "./session";
import { useTheme } from "./theme";

const PAGES: [string, string][] = [
  ["/", "Overview"],
  ["/messages", "Messages"],
  ["/webhooks", "Webhooks"],
  ["/queues", "Queues"],
  ["/sandbox", "Sandbox inbox"],
  ["/dead-letters", "Dead letters"],
  ["/alerts", "Alerts"],
];

export function App() {
  const [location] = useLocation();
  const feed = useFeed();
  const main = useRef<HTMLElement>(null);
  const former = useRef(location);
  useEffect(() => {
    document.title = `${nameOf(location)} · Sendarix`;
    if (former.current !== location) main.current?.focus(); // a reader of the screen starts at the new page
    former.current = location;
  }, [location]);
  return (
    <div className="frame">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <Sidebar key={location} location={location} feed={feed} />
      <main id="main" ref={main} tabIndex={-1}>
        <Switch>
          <Route path="/" component={Overview} />
          <Route path="/messages" component={Messages} />
          <Route path="/messages/:id">{({ id }) => <MessagePage key={id} id={id} />}</Route>
          <Route path="/webhooks" component={Webhooks} />
          <Route path="/webhooks/:id">{({ id }) => <WebhookPage key={id} id={id} />}</Route>
          <Route path="/queues" component={Queues} />
          <Route path="/sandbox" component={Sandbox} />
          <Route path="/sandbox/:id">{({ id }) => <SandboxMailPage key={id} id={id} />}</Route>
          <Route path="/dead-letters" component={DeadLetters} />
          <Route path="/alerts" component={Alerts} />
          <Route>
            <Empty title="There is no such page">
              <Link href="/">Go to the overview</Link>, or choose one on the left.
            </Empty>
          </Route>
        </Switch>
      </main>
    </div>
  );
}

function Sidebar({ location, feed }: { location: string; feed: FeedState }) {
  const [open, setOpen] = useState(false);
  return (
    <header className="sidebar" data-open={open}>
      <div className="brand">
        <Link href="/">
          <img src="/dashboard/favicon.svg" alt="" width="20" height="20" /> Sendarix
        </Link>
        <button
          type="button"
          className="menu"
          aria-expanded={open}
          aria-controls="navigation"
          onClick={() => setOpen(!open)}
        >
          Menu
        </button>
      </div>
      <div className="sidebar-body" id="navigation">
        <nav aria-label="Pages of the dashboard">
          {PAGES.map(([path, name]) => (
            <Link key={path} href={path} aria-current={isAt(location, path) ? "page" : undefined}>
              {name}
            </Link>
          ))}
        </nav>
        <Account feed={feed} />
      </div>
    </header>
  );
}

function Account({ feed }: { feed: FeedState }) {
  const { key, environment, signOut } = useSession();
  const [theme, toggle] = useTheme();
  return (
    <div className="account">
      <p className="feed" role="status" data-feed={feed}>
        {feed === "live" ? "Live" : feed === "polling" ? "Refreshed every few seconds" : "Connecting …"}
      </p>
      <p className="quiet" title="The key that you signed in with">
        <span className="environment">{environment}</span> key …{key.slice(-4)}
      </p>
      <div className="buttons">
        <button type="button" onClick={toggle}>
          {theme === "dark" ? "Light" : "Dark"}
        </button>
        <button type="button" onClick={signOut}>
          Sign out
        </button>
      </div>
    </div>
  );
}

function isAt(location: string, path: string): boolean {
  return path === "/" ? location === "/" : location === path || location.startsWith(`${path}/`);
}

function nameOf(location: string): string {
  return PAGES.find(([path]) => isAt(location, path))?.[1] ?? "Not found";
}

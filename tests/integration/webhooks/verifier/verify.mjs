// Judges calls by the official JavaScript library: reads a JSON list of {secret, headers, body} from a file, prints a
// JSON list of true (accepted) and false (refused).
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const accepted = ({ secret, headers, body }) => {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
};

console.log(JSON.stringify(JSON.parse(readFileSync(process.argv[2], "utf8")).map(accepted)));

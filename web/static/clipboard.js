// The clipboard.

import { toast } from "./notify.js";

/** Put a text on the clipboard, and say so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    toast("The browser does not let this page copy; select the text and copy it by hand.", {
      kind: "error",
    });
  }
}

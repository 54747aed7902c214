// Templates: htm bound to the one preact.

import { h } from "./preact.js";
import htm from "./htm.js";

export const html = htm.bind(h);

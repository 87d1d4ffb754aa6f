// What a shop does with the page, in the order in which it does it. The scenarios build on each other.
import './start.mjs';
import './results.mjs';
import './access.mjs';

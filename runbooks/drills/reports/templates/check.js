"use strict";
// Checks this page and further files with the reader's key. The page's bytes are out of reach here, so the seal
// names what is visible. A page that somebody changed can also lie about itself: `yiyun drill verify` cannot be lied to.
const TYPES = { report: "application/vnd.yiyun.drill-report+json", seal: "application/vnd.yiyun.drill-page+json" };
const text = new TextEncoder();
const ownProgram = document.currentScript.textContent;
const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const hex = (buffer) => [...new Uint8Array(buffer)].map((b) => b.toString(16).padStart(2, "0")).join("");
const sha256 = async (bytes) => hex(await crypto.subtle.digest("SHA-256", bytes));
const fill = (line, values) => line.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

class Refused extends Error {
  constructor(check, values = {}) { super(fill(WORDS[check], values)); this.check = check; }
}

async function keyOf(line) {
  const found = /^ed25519:([A-Za-z0-9+/]{43}=)$/.exec(line.trim());
  if (!found) throw new Refused("no_key");
  const raw = bytesOf(found[1]);
  return { key: await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]), print: await sha256(raw) };
}

// DSSE: the signature is over type and body with their lengths, so no other document of the key passes.
async function open(envelope, type, { key, print }) {
  let outer;
  try { outer = JSON.parse(envelope); } catch { throw new Refused("form"); }
  if (JSON.stringify(outer) !== envelope) throw new Refused("form"); // written anew: not what was signed
  if (outer.payloadType !== type) throw new Refused("type");
  const signature = (outer.signatures ?? []).find((s) => s.keyid === print);
  if (!signature) throw new Refused("key");
  const body = bytesOf(outer.payload);
  const head = text.encode(`DSSEv1 ${type.length} ${type} ${body.length} `);
  const signed = new Uint8Array(head.length + body.length);
  signed.set(head); signed.set(body, head.length);
  if (!(await crypto.subtle.verify("Ed25519", key, bytesOf(signature.sig), signed))) throw new Refused("signature");
  return { content: JSON.parse(new TextDecoder().decode(body)), digest: await sha256(body) };
}

// The marks never stand whole in this program: each is once in the page.
const between = (name, words) => new RegExp(`yiyun-${name}-begins:([\\s\\S]*?):yiyun-${name}-ends`).exec(words);

function inside(id, name) {
  const found = between(name, document.getElementById(id)?.textContent ?? "");
  if (!found) throw new Refused("form");
  return found[1];
}

async function checkSelf(key) {
  const report = await open(inside("report", "report"), TYPES.report, key);
  const seal = (await open(inside("seal", "seal"), TYPES.seal, key)).content;
  if (seal.report_sha256 !== report.digest) throw new Refused("pairing");
  const shown = document.querySelectorAll("body > *:not(#check)");
  const names = [...shown].map((e) => e.tagName).join(" ");
  const styles = document.querySelectorAll("style, link");
  const bare = document.documentElement.attributes.length === 1 && document.body.attributes.length === 0;
  const signed = new DOMParser().parseFromString(seal.main, "text/html").querySelector("main");
  if (names !== "MAIN SCRIPT SCRIPT SCRIPT" || styles.length !== 1 || !bare || document.title !== seal.title ||
      (await sha256(text.encode(styles[0].textContent))) !== seal.style_sha256 ||
      (await sha256(text.encode(ownProgram))) !== seal.program_sha256 ||
      !signed.isEqualNode(document.querySelector("main"))) throw new Refused("page");
  return report;
}

// Further files: reports are put into the chain, everything else must be evidence of this report by its hash.
async function checkFile(file, own, key) {
  const data = new Uint8Array(await file.arrayBuffer());
  const listed = own.content.evidence.find((e) => e.file === file.name);
  if (listed) {
    if ((await sha256(data)) !== listed.sha256) throw new Refused("evidence", { file: file.name });
    return fill(WORDS.evidence_good, { file: file.name });
  }
  let words = new TextDecoder().decode(data);
  const boxed = between("report", words);
  if (boxed) words = boxed[1];
  if (!words.startsWith("{")) throw new Refused("stranger", { file: file.name });
  const other = await open(words, TYPES.report, key);
  const apart = other.content.seq - own.content.seq;
  if (apart === 0 && other.digest !== own.digest) throw new Refused("fork", { seq: other.content.seq });
  if (apart === -1 && own.content.prev_sha256 !== other.digest) throw new Refused("link", { seq: own.content.seq });
  if (apart === 1 && other.content.prev_sha256 !== own.digest) throw new Refused("link", { seq: other.content.seq });
  return { seq: other.content.seq, digest: other.digest, before: other.content.prev_sha256 };
}

function checkChain(chain, own) {
  const all = new Map([[own.content.seq, { seq: own.content.seq, digest: own.digest, before: own.content.prev_sha256 }]]);
  for (const one of chain) {
    if (all.has(one.seq) && all.get(one.seq).digest !== one.digest) throw new Refused("fork", { seq: one.seq });
    all.set(one.seq, one);
  }
  const numbers = [...all.keys()].sort((a, b) => a - b);
  for (const [place, seq] of numbers.entries()) {
    if (place === 0) continue;
    if (seq !== numbers[place - 1] + 1) throw new Refused("gap", { seq: numbers[place - 1] + 1 });
    if (all.get(seq).before !== all.get(seq - 1).digest) throw new Refused("link", { seq });
  }
  return numbers.length > 1 ? fill(WORDS.chain_good, { first: numbers[0], last: numbers.at(-1) }) : WORDS.chain_none;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const field = element("input", { type: "text", id: "key", placeholder: "ed25519:…", autocomplete: "off", spellcheck: false });
const files = element("input", { type: "file", id: "files", multiple: true });
const button = element("button", { type: "button", id: "go", textContent: WORDS.go });
const answer = element("p", { id: "answer", textContent: WORDS.unchecked });
const lines = element("ul", { id: "lines" });
const box = element("aside", { id: "check" }, answer, element("label", {}, WORDS.ask_key, field),
  element("label", {}, WORDS.ask_files, files), button, lines);
document.body.prepend(box);

button.addEventListener("click", async () => {
  lines.replaceChildren();
  box.className = "";
  try {
    const key = await keyOf(field.value);
    const own = await checkSelf(key);
    const said = [], chain = [];
    for (const file of files.files) {
      const found = await checkFile(file, own, key);
      (typeof found === "string" ? said : chain).push(found);
    }
    said.push(checkChain(chain, own));
    if (said.length === 1) said.push(WORDS.evidence_none);
    answer.textContent = fill(WORDS.good, { seq: own.content.seq, key: key.print.slice(0, 16) });
    lines.append(...said.map((line) => element("li", { textContent: line })));
    box.className = "good";
  } catch (error) {
    const known = error instanceof Refused;
    answer.textContent = `${WORDS.refused} ${known ? error.message : fill(WORDS.form, {})}`;
    answer.dataset.check = known ? error.check : "form";
    box.className = "bad";
  }
});

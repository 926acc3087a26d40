// The front end of claude_nb/asking/card.py, as it is: no build.
//
// It says to the kernel {id, nonce, kind, ...}:
//   drawn                                  the card can be seen
//   here                                   somebody touches it, at most every HERE_EVERY
//   decision, verdict, reason?, answers?   a button was pressed
//   stop                                   the running code shall end
// Messages may be lost while the kernel is busy, so a click is said again, with the same id, until the phase
// changes. The only HTML that is put into the page is `body`, which the kernel has made harmless.

const RESEND_EVERY = 2000;
const HERE_EVERY = 5000;
const LOOK_EVERY = 50;
// A card may appear right under a pointer that is about to click something else.
const GUARD = 400;
// Somebody who waits so long wants to know why.
const RESENDS_UNTIL_WORRY = 5;

const ANSWERED_BY = { permission: askPermission, choices: askChoices, plan: askPlan };

function render({ model, el }) {
  const card = new Card(model, el);
  return () => card.remove();
}

class Card {
  constructor(model, el) {
    this.model = model;
    this.cleanUp = new AbortController();
    this.hereAt = -Infinity;
    this.root = make("div", {
      class: "cnb-card", role: "group", tabindex: "-1", "aria-label": model.get("title"),
      // Letters and Enter are the notebook's shortcuts also while a button has the focus.
      "data-lm-suppress-shortcuts": "true",
    });
    this.body = make("div", { class: "cnb-body" });
    this.body.innerHTML = model.get("body");
    el.append(this.root);
    for (const type of ["pointerdown", "focusin", "input"]) this.listen(this.root, type, () => this.sayHere());
    this.listen(this.root, "keydown", (event) => event.stopPropagation());
    this.onPhase = () => this.show();
    model.on("change:phase", this.onPhase);
    this.show();
    this.lookIfDrawn();
  }

  remove() {
    this.cleanUp.abort();
    clearInterval(this.sending);
    clearTimeout(this.looking);
    this.model.off("change:phase", this.onPhase);
    this.root.remove();
  }

  listen(node, type, handler) {
    node.addEventListener(type, handler, { signal: this.cleanUp.signal });
  }

  // -- what is seen --

  show() {
    clearInterval(this.sending);
    const hadFocus = this.root.contains(document.activeElement);
    const phase = this.model.get("phase");
    this.root.dataset.phase = phase;
    this.status = make("div", { class: "cnb-status", role: "status" });
    const foot = phase === "running" ? [row(this.stopButton(), this.status)] : [...this.foot(phase), this.status];
    this.root.replaceChildren(this.head(), this.body, ...foot);
    if (hadFocus) this.root.focus({ preventScroll: true });
  }

  head() {
    const title = make("span", { class: "cnb-title" }, this.model.get("title"));
    return make("div", { class: "cnb-head" }, title, make("span", { class: "cnb-tag" }, this.model.get("tag")));
  }

  foot(phase) {
    if (phase === "asking") return ANSWERED_BY[this.model.get("form")](this);
    const outcome = this.model.get("outcome");
    return outcome ? [make("div", { class: "cnb-outcome" }, outcome)] : [];
  }

  stopButton() {
    return this.button("Stop", "cnb-warn", () => this.send({ kind: "stop" }, "stopping…"));
  }

  say(text) {
    this.status.textContent = text;
  }

  // -- what is pressed --

  // A script's click is none, nor is one that comes before anybody can have read the card.
  button(label, style, press, { guarded = false } = {}) {
    const node = make("button", { type: "button", class: `cnb-button ${style}` }, label);
    this.listen(node, "click", (event) => {
      if (!event.isTrusted) return;
      if (guarded && !this.root.dataset.ready) return;
      press();
    });
    // A key that is still held down from before is none, either.
    this.listen(node, "keydown", (event) => { if (event.key === "Enter" && event.repeat) event.preventDefault(); });
    return node;
  }

  decide(verdict, more = {}) {
    this.send({ kind: "decision", verdict, ...more }, "sending…");
  }

  // The field for a reason and the button that says no.
  denial(label, placeholder) {
    const reason = make("input", { type: "text", class: "cnb-text", dir: "auto", placeholder, "aria-label": placeholder });
    const deny = () => this.decide("deny", { reason: reason.value });
    this.listen(reason, "keydown", (event) => {
      if (event.key === "Enter" && event.isTrusted && !event.isComposing) deny();
    });
    return make("div", { class: "cnb-denial" }, reason, this.button(label, "cnb-warn", deny));
  }

  // -- what is said --

  send(content, doing) {
    // A button that is disabled, or goes away, would leave the focus to nobody.
    const hadFocus = this.root.contains(document.activeElement);
    for (const node of this.root.querySelectorAll("button, input")) node.disabled = true;
    if (hadFocus) this.home().focus({ preventScroll: true });
    this.say(doing);
    const message = { id: randomId(), ...content };
    let times = 0;
    const again = () => {
      this.tell(message);
      if (++times > RESENDS_UNTIL_WORRY) this.say(`${doing} The kernel has not answered yet.`);
    };
    clearInterval(this.sending);
    this.sending = setInterval(again, RESEND_EVERY);
    again();
  }

  // Where a person goes on once the question is answered: the chat's own field, or the notebook.
  home() {
    const chat = this.root.closest(".cnb-chat");
    return chat?.querySelector(".cnb-input") ?? this.root.closest(".jp-Notebook") ?? this.root;
  }

  sayHere() {
    const now = performance.now();
    if (now - this.hereAt < HERE_EVERY || this.model.get("phase") !== "asking") return;
    this.hereAt = now;
    this.tell({ id: randomId(), kind: "here" });
  }

  tell(message) {
    try {
      this.model.send({ nonce: this.model.get("nonce"), ...message });
    } catch (error) {
      console.warn("claude_nb: the card could not reach the kernel", error);
    }
  }

  // A question below the edge of the window would not be noticed; a reader who is elsewhere is left alone.
  comeIntoSight() {
    const cell = this.root.closest(".jp-Cell, .cell");
    const { top, bottom } = (cell ?? this.root).getBoundingClientRect();
    if (bottom > 0 && top < window.innerHeight) this.root.scrollIntoView({ block: "nearest" });
  }

  // A frame would not come in a page behind another; a look does.
  lookIfDrawn() {
    if (this.root.isConnected && this.root.offsetHeight > 0) {
      this.looking = setTimeout(() => { this.root.dataset.ready = "true"; }, GUARD);
      this.comeIntoSight();
      this.tell({ id: randomId(), kind: "drawn" });
    } else {
      this.looking = setTimeout(() => this.lookIfDrawn(), LOOK_EVERY);
    }
  }
}

// -- the three forms: what stands below the body while it asks --

function askPermission(card) {
  const rule = card.model.get("rule");
  const ways = [card.button("Allow once", "cnb-main", () => card.decide("once"), { guarded: true })];
  if (rule) {
    const always = card.button("Always", "", () => card.decide("always"), { guarded: true });
    always.setAttribute("aria-label", `Always allow ${rule}`);
    ways.push(make("span", { class: "cnb-always" }, always, make("code", { class: "cnb-rule" }, rule)));
  }
  return [row(...ways, card.denial("Deny", "Reason (optional)"))];
}

function askPlan(card) {
  const approve = card.button("Approve", "cnb-main", () => card.decide("once"), { guarded: true });
  return [row(approve, card.denial("Keep planning", "What to change (optional)"))];
}

function askChoices(card) {
  const sets = card.model.get("choices").map((choice, index) => choiceSet(card, choice, index));
  const read = () => Object.fromEntries(sets.map((set, index) => [String(index), set.read()]));
  const submit = card.button("Submit", "cnb-main", () => {
    const missing = sets.find((set) => !set.answered());
    if (missing) {
      card.say("Please answer every question.");
      missing.node.querySelector("input").focus();
    } else {
      card.decide("once", { answers: read() });
    }
  }, { guarded: true });
  return [...sets.map((set) => set.node), row(submit, card.denial("Deny", "Reason (optional)"))];
}

// One question: its options as radio buttons or check boxes, and a field for other words.
function choiceSet(card, choice, index) {
  const group = randomId();
  const type = choice.several ? "checkbox" : "radio";
  const pick = () => make("input", { type, name: group });
  const boxes = choice.options.map(pick);
  const options = choice.options.map((option, i) => make("label", { class: "cnb-option" }, boxes[i],
    make("span", { dir: "auto" }, make("span", { class: "cnb-label" }, option.label),
      make("span", { class: "cnb-description" }, option.description))));
  const otherBox = pick();
  otherBox.setAttribute("aria-label", "Other");
  const other = make("input", {
    type: "text", class: "cnb-text", dir: "auto", placeholder: "Other", "aria-label": `Other answer to question ${index + 1}`,
  });
  card.listen(other, "input", () => { otherBox.checked = other.value.trim() !== ""; });
  card.listen(otherBox, "change", () => { if (otherBox.checked) other.focus(); });
  const header = choice.header ? [make("span", { class: "cnb-chip" }, choice.header)] : [];
  const node = make("fieldset", { class: "cnb-choice" },
    make("legend", { dir: "auto" }, ...header, choice.question), ...options,
    make("div", { class: "cnb-option" }, otherBox, other));
  const picked = () => boxes.flatMap((box, i) => (box.checked ? [i] : []));
  const words = () => (otherBox.checked ? other.value.trim() : "");
  return {
    node,
    read: () => ({ picked: picked(), other: words() }),
    answered: () => picked().length > 0 || words() !== "",
  };
}

function row(...children) {
  return make("div", { class: "cnb-row" }, ...children);
}

function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// `crypto.randomUUID` is only there over https.
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export default { render };

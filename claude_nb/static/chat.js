// The front end of claude_nb/chat/widget.py. No build; `card.js` stands before it in the same module and
// gives `Card`, `make` and `randomId`.
//
// The kernel says {kind, ...}:
//   all, feed, rev, entries, more       everything there is
//   patch, feed, rev, ops, more         what has changed since `rev - 1`; see claude_nb/chat/log.py
//   beat                                nothing new, but the work goes on: said every second if nothing else is
//   ack, id                             a message of ours was heard
//   failed, id, what, text              it could not be done
// We say {id, nonce, kind, ...}, each until it is acknowledged, since messages may be lost while the kernel is
// busy: hello (with feed and rev), send, stop, stop_code, unqueue, retry, decide, model, sessions, switch, new,
// rename, fork, archive, focus, more. The only HTML that is put into the page is what the kernel has made harmless.

const ASK_AGAIN = 2000;
const WORRY_AFTER = 4;
const GIVE_UP_AFTER = 150;
// So long without a word of the kernel, while one is awaited, and the chat says so: within three seconds of
// the kernel's end it must not say "writing" any more.
const SILENT_AFTER = 2500;
const LOOK_AFTER_KERNEL = 250;
// What a front end calls a kernel that does not know this chat any more, or soon will not.
const ENDED = new Set(["dead", "terminating", "restarting", "autorestarting"]);
// So many prompts that were sent are remembered, should one of them come back.
const SENT_KEPT = 50;
// A kernel that is shut down first gives up its queue, and ends so much later at the most.
const LATELY = 15000;
// So near to its end the list follows what comes.
const NEAR = 60;
const TICK = 1000;
// Far from the end entries stand in groups of so many: by the thousand, each by itself, they cost too much.
const GROUP = 50;
// How high an entry is taken to be that was never drawn; chat.css says the same, and what is between two.
const GUESSED = 66;
const STATES = {
  waiting: "waiting for you", busy: "busy", idle: "ready", suspended: "asleep; a prompt wakes it", dead: "ended",
};

const stores = new Map();

function initialize({ model }) {
  const store = storeOf(model);
  return () => store.remove();
}

function renderChat({ model, el }) {
  const view = new Chat(storeOf(model), el);
  return () => view.remove();
}

// `initialize` and `render` get different wrappings of the same model.
function storeOf(model) {
  const key = model.get("nonce");
  if (!stores.has(key)) stores.set(key, new Store(model, key));
  return stores.get(key);
}

// The messages of one chat, for all its views.
class Store {
  constructor(model, key) {
    this.model = model;
    this.key = key;
    this.views = new Set();
    this.outbox = new Map();
    // What was typed and sent, by id, with the view in which it was.
    this.sent = new Map();
    // The prompts that wait in the kernel, by id, and those that have left its queue, with the time.
    this.queued = new Map();
    // The kernel is known to have ended, since this chat heard of it for the last time.
    this.gone = false;
    this.heardAt = performance.now();
    this.onKernelStatus = (_, status) => { if (ENDED.has(status)) this.lose(); };
    this.onMessage = (message) => this.hear(message);
    // The kernel was restarted or has ended, or is there again: see whether it answers.
    this.onConnection = () => {
      this.lookAfterKernel();
      if (!this.gone) this.say("hello", { feed: this.feed, rev: this.rev });
    };
    this.onQueued = () => this.noteQueue();
    model.on("msg:custom", this.onMessage);
    model.on("comm_live_update", this.onConnection);
    model.on("change:queued", this.onQueued);
    this.noteQueue();
    this.load(model.get("log") ?? {});
    this.timer = setInterval(() => this.sayAgain(), ASK_AGAIN);
    this.looking = setInterval(() => this.lookAfterKernel(), LOOK_AFTER_KERNEL);
    this.say("hello", { feed: this.feed, rev: this.rev });
  }

  remove() {
    clearInterval(this.timer);
    clearInterval(this.looking);
    this.kernel?.statusChanged?.disconnect(this.onKernelStatus);
    this.model.off("msg:custom", this.onMessage);
    this.model.off("comm_live_update", this.onConnection);
    this.model.off("change:queued", this.onQueued);
    stores.delete(this.key);
  }

  load({ feed = "", rev = 0, entries = [], more = false }) {
    Object.assign(this, { feed, rev, more });
    this.order = entries.map((entry) => entry.id);
    this.entries = new Map(entries.map((entry) => [entry.id, entry]));
  }

  hear(message) {
    this.heardAt = performance.now();
    // One that is about to end still speaks.
    if (!this.kernelEnded) this.gone = false;
    switch (message.kind) {
      case "all":
        this.load(message);
        for (const view of this.views) view.showAll();
        break;
      case "patch":
        this.patch(message);
        break;
      case "ack":
        this.outbox.delete(message.id);
        this.sent.get(message.id)?.view.arrived(this.sent.get(message.id));
        break;
      case "failed":
        this.giveBack(message.id);
        for (const view of this.views) view.fail(message.text);
    }
    for (const view of this.views) view.showWorry();
  }

  patch({ feed, rev, ops, more }) {
    if (feed !== this.feed || rev <= this.rev) return;
    if (rev !== this.rev + 1) {
      this.say("hello", { feed: this.feed, rev: this.rev });
      return;
    }
    this.rev = rev;
    this.more = more;
    for (const view of this.views) view.before();
    for (const op of ops) this.apply(op);
    for (const view of this.views) view.after();
  }

  apply(op) {
    switch (op.op) {
      case "set":
        if (!this.entries.has(op.entry.id)) this.order.splice(this.order.indexOf(op.after) + 1, 0, op.entry.id);
        this.entries.set(op.entry.id, op.entry);
        for (const view of this.views) view.set(op.entry, op.after);
        break;
      case "grow": {
        const entry = this.entries.get(op.id);
        entry.html += op.html;
        entry.tail = entry.tail.slice(0, op.keep) + op.tail;
        entry.done = op.done;
        for (const view of this.views) view.grow(entry, op.html);
        break;
      }
      case "remove":
        this.order.splice(this.order.indexOf(op.id), 1);
        this.entries.delete(op.id);
        for (const view of this.views) view.drop(op.id);
    }
  }

  say(kind, content = {}) {
    const message = { id: randomId(), ...content, kind };
    this.outbox.set(message.id, { message, times: 0 });
    this.tell(message);
    return message.id;
  }

  // A prompt; the same one is not said twice if it is tried again before it has arrived.
  sayPrompt(text, view) {
    for (const [id, was] of this.sent) {
      if (was.text === text && was.returned && this.outbox.has(id)) {
        was.returned = false;
        return;
      }
    }
    const id = this.say("send", { text });
    this.sent.set(id, { text, view, returned: false });
    if (this.sent.size > SENT_KEPT) this.sent.delete(this.sent.keys().next().value);
  }

  // It stands where it was typed again.
  giveBack(id) {
    const was = this.sent.get(id);
    if (!was || was.returned) return;
    was.returned = true;
    const view = this.views.has(was.view) ? was.view : [...this.views][0];
    if (view) view.takeBack(was.text);
    else handOver(this.model.get("record"), id, was.text);
  }

  // What the front end itself knows; not each of them tells. A status may stand for milliseconds only.
  get kernelEnded() {
    const manager = this.model.widget_manager;
    if (!manager || !("kernel" in manager)) return false;
    if (manager.kernel !== this.kernel) {
      this.kernel?.statusChanged?.disconnect(this.onKernelStatus);
      this.kernel = manager.kernel;
      this.kernel?.statusChanged?.connect(this.onKernelStatus);
    }
    return !this.kernel || ENDED.has(this.kernel.status);
  }

  lookAfterKernel() {
    if (this.kernelEnded) this.lose();
    for (const view of this.views) view.showWorry();
  }

  // Nothing that is said now arrives: what was typed is kept for the session's next view.
  lose() {
    if (this.gone) return;
    this.gone = true;
    for (const id of [...this.outbox.keys()]) this.giveBack(id);
    this.outbox.clear();
    const [view] = this.views;
    for (const text of this.unbegun()) {
      if (view) view.takeBack(text);
      else handOver(this.model.get("record"), randomId(), text);
    }
    this.queued.clear();
  }

  noteQueue() {
    const queue = new Map(this.model.get("queued").map(({ id, prompt }) => [id, { prompt, left: Infinity }]));
    for (const was of this.queued.values()) was.left = Math.min(was.left, performance.now());
    this.queued = new Map([...this.queued, ...queue]);
  }

  // What waited in the queue until the kernel ended, or gave its queue up for that.
  unbegun() {
    const begun = new Set([...this.entries.values()].map(({ turn }) => turn));
    const kept = [...this.queued].filter(([id, { left }]) => !begun.has(id) && performance.now() - left < LATELY);
    return kept.map(([, { prompt }]) => prompt);
  }

  sayAgain() {
    for (const [id, waiting] of this.outbox) {
      waiting.times += 1;
      if (waiting.times > WORRY_AFTER) this.giveBack(id);
      if (waiting.times > GIVE_UP_AFTER) this.outbox.delete(id);
      else this.tell(waiting.message);
    }
  }

  get silent() {
    return this.awaits && performance.now() - Math.max(this.heardAt, this.awaitedAt) > SILENT_AFTER;
  }

  // Of a session at work something is heard every second, and of what we have said that it has come through.
  get awaits() {
    const awaits = this.outbox.size > 0 || ["busy", "waiting"].includes(this.model.get("state"));
    if (awaits && !this.awaited) this.awaitedAt = performance.now();
    this.awaited = awaits;
    return awaits;
  }

  get worries() {
    return [...this.outbox.values()].some((waiting) => waiting.times > WORRY_AFTER);
  }

  tell(message) {
    try {
      this.model.send({ ...message, nonce: this.key });
    } catch (error) {
      console.warn("claude_nb: the chat could not reach the kernel", error);
    }
  }
}

// One place where the chat is seen.
class Chat {
  constructor(store, el) {
    this.store = store;
    this.model = store.model;
    this.id = randomId();
    this.cleanUp = new AbortController();
    this.nodes = new Map();
    this.cards = new Map();
    // The entries that have no node yet, all of them before those that have.
    this.unmade = [];
    this.recall = { at: -1, draft: "" };
    // Why nothing can be said now: "gone", "lost" (no answer for long) or "silent" (none for a moment).
    this.trouble = "";
    // Why what was done last could not be done.
    this.failure = "";
    this.build();
    el.append(this.root);
    this.onHead = () => this.showHead();
    for (const name of HEAD) this.model.on(`change:${name}`, this.onHead);
    store.views.add(this);
    this.timer = setInterval(() => this.showStatus(), TICK);
    this.listen(window, "pagehide", () => this.keepDraft());
    this.listen(window, DRAFT, () => this.takeDraft());
    this.listen(window, TAKEN, (event) => this.onTaken(event));
    this.showHead();
    this.showAll();
    this.takeDraft();
  }

  remove() {
    this.keepDraft();
    this.cleanUp.abort();
    clearInterval(this.timer);
    clearTimeout(this.making);
    this.store.views.delete(this);
    for (const name of HEAD) this.model.off(`change:${name}`, this.onHead);
    for (const card of this.cards.values()) card.remove();
    this.sizes.disconnect();
    this.root.remove();
  }

  listen(node, type, handler) {
    node.addEventListener(type, handler, { signal: this.cleanUp.signal });
  }

  // -- what it is made of --

  build() {
    this.dot = make("span", { class: "cnb-dot", role: "img" });
    this.name = make("span", { class: "cnb-name" });
    this.sessionMenu = new Menu(this, "cnb-session", "Session", [this.dot, this.name], () => this.listSessions());
    this.modelName = make("span", {});
    this.modelMenu = new Menu(this, "cnb-model", "Model", [this.modelName], () => this.listModels());
    this.usage = make("span", { class: "cnb-usage" });
    const head = make("div", { class: "cnb-bar" }, this.sessionMenu.node, make("span", { class: "cnb-space" }),
      this.usage, this.modelMenu.node);
    this.earlier = this.button("Show earlier messages", "cnb-earlier", () => this.store.say("more"));
    this.empty = make("div", { class: "cnb-empty" });
    this.lines = make("div", { class: "cnb-lines" }, this.earlier, this.empty);
    this.list = make("div", { class: "cnb-list", role: "log", "aria-label": "Messages", tabindex: "0" }, this.lines);
    this.follows = true;
    this.sizes = new ResizeObserver(() => this.onSize());
    this.sizes.observe(this.lines);
    this.sizes.observe(this.list);
    this.down = this.button("", "cnb-down", () => this.toEnd());
    this.down.append(icon("down"));
    this.down.setAttribute("aria-label", "To the latest message");
    this.down.hidden = true;
    const middle = make("div", { class: "cnb-middle" }, this.list, this.down);
    this.status = make("div", { class: "cnb-now", role: "status" });
    this.notice = make("div", { class: "cnb-alert", role: "alert" });
    this.queue = make("div", { class: "cnb-queue" });
    this.root = make("div", {
      class: "cnb-chat", role: "region", "aria-label": "Chat with Claude", "data-lm-suppress-shortcuts": "true",
    }, head, middle, this.notice, this.queue, this.status, this.composer());
    this.listen(this.root, "keydown", (event) => this.onKey(event));
    this.listen(this.list, "scroll", () => this.onScroll());
    this.listen(this.list, "click", (event) => this.onListClick(event));
  }

  composer() {
    this.input = make("textarea", {
      class: "cnb-input", rows: "1", dir: "auto", placeholder: "Ask Claude\u2026", "aria-label": "Message to Claude",
      spellcheck: "true",
    });
    this.sendButton = this.button("", "cnb-send cnb-main", () => this.submit());
    this.sendButton.append(icon("send"));
    this.sendButton.setAttribute("aria-label", "Send");
    this.sendButton.title = "Send (Enter)";
    // By mouse it is the press that counts: what Claude writes moves the button away before the release, and
    // then there is no click. A click of the keyboard has no detail.
    this.stopButton = this.button("", "cnb-stop", (event) => { if (!event.detail) this.store.say("stop"); });
    this.listen(this.stopButton, "pointerdown", (event) => {
      if (event.isTrusted && event.button === 0) this.store.say("stop");
    });
    this.stopButton.append(icon("stop"));
    this.stopButton.setAttribute("aria-label", "Stop");
    this.stopButton.title = "Stop (Esc)";
    this.listen(this.input, "input", () => this.fit());
    this.listen(this.input, "focus", () => this.wake());
    return make("div", { class: "cnb-composer" }, this.input, this.stopButton, this.sendButton);
  }

  // A script's click is none.
  button(label, style, press) {
    const node = make("button", { type: "button", class: `cnb-button ${style}` }, label);
    this.listen(node, "click", (event) => { if (event.isTrusted) press(event); });
    return node;
  }

  // -- around the messages --

  showHead() {
    const state = this.cutOff ? "dead" : this.model.get("state");
    this.root.dataset.state = state;
    this.dot.dataset.state = state;
    this.dot.setAttribute("aria-label", STATES[state] ?? state);
    this.dot.title = STATES[state] ?? state;
    this.name.textContent = this.model.get("session");
    this.modelName.textContent = this.labelOf(this.model.get("model"));
    this.showUsage(this.model.get("usage"));
    this.stopButton.hidden = !["busy", "waiting"].includes(state);
    this.input.placeholder = this.stopButton.hidden ? "Ask Claude\u2026" : "Queue another prompt\u2026";
    this.showAlert();
    this.showQueue();
    this.showStatus();
    this.sessionMenu.refresh();
    this.modelMenu.refresh();
  }

  // "12 % of 200,000 tokens", and perhaps what it has cost
  showUsage(text) {
    const percent = parseInt(text, 10);
    this.usage.hidden = Number.isNaN(percent);
    this.usage.title = `Context: ${text}`;
    const bar = make("span", { class: "cnb-fill" });
    bar.style.setProperty("--cnb-filled", `${Math.min(100, percent)}%`);
    this.usage.replaceChildren(bar, `${percent} %`);
  }

  labelOf(name) {
    const known = this.model.get("models").find((model) => model.name === name);
    return known ? known.label : name || "Default model";
  }

  showStatus() {
    const now = Date.now() / 1000;
    const silent = { words: "The kernel does not answer", since: now - (performance.now() - this.store.heardAt) / 1000 };
    const { words, since } = this.cutOff ? {} : this.trouble ? silent : this.model.get("status");
    const seconds = words ? Math.max(0, Math.floor(now - since)) : 0;
    const text = words ? (seconds > 1 ? `${words} \u00b7 ${seconds} s` : words) : "";
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  showQueue() {
    const chips = this.model.get("queued").map(({ id, text }) => {
      const away = this.button("\u00d7", "cnb-away", () => { this.store.queued.delete(id); this.store.say("unqueue", { turn: id }); });
      away.setAttribute("aria-label", `Do not send: ${text}`);
      return make("div", { class: "cnb-waits" }, make("span", { class: "cnb-waits-text" }, text), away);
    });
    const title = make("span", { class: "cnb-muted" }, `${chips.length} queued`);
    this.queue.replaceChildren(...(chips.length ? [title, ...chips] : []));
  }

  get cutOff() {
    return ["gone", "lost"].includes(this.trouble);
  }

  showAlert() {
    const kept = this.input.value.trim() ? " Your text was not sent; it is kept." : "";
    const text = this.trouble === "gone" ? `The kernel has ended.${kept} Once there is one again, run this cell again: the conversation goes on.`
      : this.trouble === "lost" ? `The kernel does not answer.${kept} If it was restarted, run this cell again: the conversation goes on.`
      : this.failure || this.model.get("banner");
    if (this.notice.textContent !== text) this.notice.textContent = text;
  }

  showWorry() {
    const { gone, worries, silent } = this.store;
    const trouble = gone ? "gone" : worries ? "lost" : silent ? "silent" : "";
    if (trouble === this.trouble) return;
    this.trouble = trouble;
    this.showHead();
  }

  fail(text) {
    this.failure = text;
    this.showAlert();
  }

  // What could not be sent stands here again, before what was typed since.
  takeBack(text) {
    const { value } = this.input;
    if (value !== text) this.input.value = value.trim() ? `${text}\n${value}` : text;
    this.fit();
    if (this.store.gone) this.keepDraft();
    this.showAlert();
  }

  // It has come through after all.
  arrived(was) {
    if (was.returned && this.input.value === was.text) {
      this.input.value = "";
      this.fit();
    }
    was.returned = false;
  }

  // For the session's next view, should this one be gone by then.
  keepDraft() {
    if (this.input.value.trim()) handOver(this.model.get("record"), this.id, this.input.value);
  }

  takeDraft() {
    if (this.input.value.trim() || this.store.gone) return;
    this.input.value = takeOver(this.model.get("record"));
    this.fit();
  }

  // Another view has it now.
  onTaken(event) {
    if (!this.store.gone || event.detail !== this.model.get("record")) return;
    this.input.value = "";
    this.fit();
    this.showAlert();
  }

  // -- messages --

  showAll() {
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.nodes.clear();
    this.prepended = false;
    // The last ones are what is looked at; the others follow, unless somebody needs them before.
    this.unmade = [...this.store.order];
    const last = this.unmade.splice(Math.max(0, this.unmade.length - GROUP)).map((id) => this.make(this.store.entries.get(id)));
    this.lines.replaceChildren(this.earlier, this.empty, ...last);
    this.makeLater();
    this.follows = true;
    this.after();
  }

  makeLater() {
    clearTimeout(this.making);
    if (this.unmade.length) this.making = setTimeout(() => { this.makeSome(); this.makeLater(); });
  }

  makeSome() {
    const nodes = this.unmade.splice(Math.max(0, this.unmade.length - GROUP)).map((id) => this.make(this.store.entries.get(id)));
    const fromEnd = this.list.scrollHeight - this.list.scrollTop;
    this.empty.after(group(nodes));
    if (!this.follows) this.list.scrollTop = this.list.scrollHeight - fromEnd;
  }

  makeAll() {
    while (this.unmade.length) this.makeSome();
  }

  before() {
    this.makeAll();
    this.fromEnd = this.list.scrollHeight - this.list.scrollTop;
    this.prepended = false;
  }

  after() {
    this.earlier.hidden = !this.store.more;
    this.showEmpty();
    this.groupFar();
    // What is put in front must not move what is read.
    if (this.prepended && !this.follows) this.list.scrollTop = this.list.scrollHeight - this.fromEnd;
    this.onSize();
  }

  // Entries that came in front, and those that are far from the end by now.
  groupFar() {
    const single = [...this.lines.children].filter((node) => node.classList.contains("cnb-entry"));
    const apart = single.findIndex((node) => node.previousElementSibling.classList.contains("cnb-group"));
    const front = single.splice(0, Math.max(0, apart));
    if (single.length > 2 * GROUP) front.push(...single.splice(0, single.length - GROUP));
    while (front.length) {
      const first = front.findIndex((node, index) => index > 0 && node.previousElementSibling !== front[index - 1]);
      const nodes = front.splice(0, Math.min(GROUP, first > 0 ? first : front.length));
      const place = nodes[0].previousElementSibling;
      const { top } = nodes[0].getBoundingClientRect();
      place.after(group(nodes, nodes.at(-1).getBoundingClientRect().bottom - top));
    }
  }

  showEmpty() {
    this.empty.hidden = this.store.order.length > 0;
    this.empty.textContent = "Ask about this notebook. Claude sees its variables and outputs.";
  }

  make(entry) {
    const node = make("div", { class: `cnb-entry cnb-entry-${entry.kind}`, "data-id": entry.id });
    if (entry.kind === "prompt") node.dir = "auto";
    this.nodes.set(entry.id, node);
    this.fill(node, entry);
    return node;
  }

  fill(node, entry) {
    node.dataset.done = entry.done;
    if (entry.kind === "question") {
      this.ask(node, entry);
      return;
    }
    const open = [...node.querySelectorAll("details")].map((details) => details.open);
    const finished = make("div", { class: "cnb-done" });
    finished.innerHTML = entry.html;
    const tail = make("div", { class: "cnb-tail" });
    tail.innerHTML = entry.tail;
    node.replaceChildren(finished, tail);
    [...node.querySelectorAll("details")].forEach((details, index) => { if (open[index]) details.open = true; });
    if (entry.kind === "end") node.append(this.end(entry));
    if (entry.more.stop) node.append(this.stopOfCode(entry));
    if (entry.more.undo) node.append(this.undo(entry.more.undo));
    decorate(node);
  }

  end({ turn, more }) {
    const retry = more.retry && more.status !== "completed"
      ? [this.button("Retry", "cnb-small", () => this.store.say("retry", { turn }))] : [];
    return make("div", { class: "cnb-end", "data-status": more.status }, make("span", {}, more.words), ...retry);
  }

  // Bring an archived session back.
  undo(name) {
    return make("div", { class: "cnb-row" }, this.button("Undo", "cnb-small", () => this.store.say("switch", { name })));
  }

  stopOfCode(entry) {
    const button = this.button("Stop the code", "cnb-small", () => {
      button.disabled = true;
      button.textContent = "stopping\u2026";
      this.store.say("stop_code", { entry: entry.id });
    });
    return make("div", { class: "cnb-row" }, button);
  }

  ask(node, entry) {
    const known = this.cards.get(entry.id);
    if (known) {
      known.model.update(entry);
      return;
    }
    this.cards.set(entry.id, new Card(new QuestionModel(this.store, entry), node));
  }

  set(entry, after) {
    const node = this.nodes.get(entry.id);
    if (node) {
      this.fill(node, entry);
      return;
    }
    const made = this.make(entry);
    const place = this.nodes.get(after);
    if (!place) this.prepended = true;
    (place ?? this.empty).after(made);
  }

  grow(entry, html) {
    const node = this.nodes.get(entry.id);
    const [finished, tail] = node.children;
    node.dataset.done = entry.done;
    if (html) finished.insertAdjacentHTML("beforeend", html);
    const open = [...tail.querySelectorAll("details")].map((details) => details.open);
    tail.innerHTML = entry.tail;
    [...tail.querySelectorAll("details")].forEach((details, index) => { if (open[index]) details.open = true; });
    decorate(node);
  }

  drop(id) {
    this.cards.get(id)?.remove();
    this.cards.delete(id);
    this.nodes.get(id)?.remove();
    this.nodes.delete(id);
  }

  toEnd() {
    this.follows = true;
    this.onSize();
  }

  // Heights change also when nothing is said, as when what was far away is laid out.
  onSize() {
    if (this.follows) this.list.scrollTop = this.list.scrollHeight;
    this.scrolled = this.list.scrollTop;
    this.down.hidden = this.follows || this.fromBottom < NEAR;
  }

  get fromBottom() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight;
  }

  // A reader who scrolls up stays there; one who comes back to the end follows again.
  onScroll() {
    if (this.fromBottom < NEAR) this.follows = true;
    else if (this.list.scrollTop < this.scrolled) this.follows = false;
    this.scrolled = this.list.scrollTop;
    this.down.hidden = this.follows;
  }

  onListClick(event) {
    if (!event.isTrusted) return;
    const button = event.target.closest("button[data-do]");
    const code = button?.closest(".cnb-code")?.querySelector("pre")?.textContent;
    if (code === undefined) return;
    if (button.dataset.do === "copy") copy(code).then(() => flash(button, "Copied"));
    else toCell(this.root, code).then((done) => flash(button, done));
  }

  // -- what is typed --

  onKey(event) {
    // Letters are the notebook's shortcuts also while a button has the focus.
    event.stopPropagation();
    if (event.key === "Escape") this.onEscape();
    if (event.target !== this.input || event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      this.onArrow(event);
    }
  }

  onEscape() {
    if (this.sessionMenu.open || this.modelMenu.open) {
      this.sessionMenu.close();
      this.modelMenu.close();
    } else if (!this.stopButton.hidden) {
      this.store.say("stop");
    }
  }

  // Only at the very beginning or end of the text, where the arrow would do nothing.
  onArrow(event) {
    const { selectionStart, selectionEnd, value } = this.input;
    const up = event.key === "ArrowUp";
    if (selectionStart !== selectionEnd) return;
    if (up ? value.slice(0, selectionStart).includes("\n") : value.slice(selectionEnd).includes("\n")) return;
    const said = this.prompts();
    const at = this.recall.at + (up ? 1 : -1);
    if (at < -1 || at >= said.length) return;
    event.preventDefault();
    if (this.recall.at === -1) this.recall.draft = value;
    this.recall.at = at;
    this.input.value = at === -1 ? this.recall.draft : said[at];
    this.fit();
  }

  // The last one first, each once.
  prompts() {
    this.makeAll();
    const asked = [...this.list.querySelectorAll(".cnb-entry-prompt .cnb-done, .cnb-typed")].map((node) => node.textContent);
    return [...new Set(asked.reverse())];
  }

  submit() {
    const text = this.input.value;
    if (!text.trim()) return;
    this.failure = "";
    this.store.lookAfterKernel();
    if (this.store.gone) {
      this.keepDraft();
      this.showAlert();
      return;
    }
    this.store.sayPrompt(text, this);
    this.input.value = "";
    this.recall = { at: -1, draft: "" };
    this.showAlert();
    this.fit();
    this.toEnd();
    this.input.focus();
  }

  fit() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight + 2}px`;
  }

  wake() {
    if (this.model.get("state") === "suspended") this.store.say("focus");
  }

  // -- menus --

  listSessions() {
    const others = this.model.get("sessions").map(({ name, state, words }) => {
      const dot = make("span", { class: "cnb-dot", "data-state": state });
      const item = this.item([dot, make("span", { class: "cnb-item-name" }, name), make("span", { class: "cnb-muted" }, words)],
        () => this.store.say("switch", { name }));
      item.setAttribute("aria-checked", name === this.model.get("session"));
      item.setAttribute("role", "menuitemradio");
      return item;
    });
    const here = this.model.get("session");
    return [make("div", { class: "cnb-items", role: "group", "aria-label": "Sessions" }, ...others),
      make("div", { class: "cnb-rule-line", role: "separator" }),
      this.item(["New session\u2026"], () => this.sessionMenu.ask("Name of the new session", "", (name) => this.store.say("new", { name })), true),
      this.item(["Rename\u2026"], () => this.sessionMenu.ask("New name", here, (name) => this.store.say("rename", { name })), true),
      this.item(["Fork: go on in a copy"], () => this.store.say("fork")),
      this.item(["Archive\u2026"], () => this.sessionMenu.confirm(
        `Archive ${here}? It is stopped and hidden; its conversation stays.`, "Archive", () => this.store.say("archive")), true)];
  }

  listModels() {
    const models = this.model.get("models");
    const now = this.model.get("model");
    if (!models.length) return [make("div", { class: "cnb-muted cnb-hint" }, "The models are known once Claude Code has been started.")];
    return models.map(({ name, label, about }) => {
      const item = this.item([make("span", { class: "cnb-item-name" }, label), make("span", { class: "cnb-muted" }, about)],
        () => this.store.say("model", { name }));
      item.setAttribute("role", "menuitemradio");
      item.setAttribute("aria-checked", name === now);
      return item;
    });
  }

  item(content, press, stays = false) {
    const node = this.button("", "cnb-item", () => {
      if (!stays) { this.sessionMenu.close(); this.modelMenu.close(); }
      press();
    });
    node.setAttribute("role", "menuitem");
    node.append(...content);
    return node;
  }
}

// -- what was typed and not sent, kept in this tab from one view of a session to its next --

const DRAFT = "claude-nb-draft";
const TAKEN = "claude-nb-draft-taken";

function drafts(key) {
  try {
    return JSON.parse(sessionStorage.getItem(`${DRAFT}:${key}`)) ?? {};
  } catch {
    return {};
  }
}

// The text of a view, or of one that was; it replaces what that one has handed over before.
function handOver(key, from, text) {
  try {
    sessionStorage.setItem(`${DRAFT}:${key}`, JSON.stringify({ ...drafts(key), [from]: text }));
    window.dispatchEvent(new Event(DRAFT));
  } catch (error) {
    console.warn("claude_nb: what was typed could not be kept", error);
  }
}

function takeOver(key) {
  const texts = Object.values(drafts(key));
  if (texts.length) {
    sessionStorage.removeItem(`${DRAFT}:${key}`);
    window.dispatchEvent(new CustomEvent(TAKEN, { detail: key }));
  }
  return [...new Set(texts)].join("\n");
}

const HEAD = ["session", "state", "status", "model", "models", "sessions", "queued", "usage", "banner"];

// A button with a list below it.
class Menu {
  constructor(chat, style, label, content, list) {
    this.chat = chat;
    this.list = list;
    this.open = false;
    this.opener = chat.button("", `cnb-opener ${style}`, () => (this.open ? this.close() : this.show()));
    this.opener.append(...content, icon("open"));
    this.opener.setAttribute("aria-haspopup", "menu");
    this.opener.setAttribute("aria-expanded", "false");
    this.opener.title = label;
    this.box = make("div", { class: "cnb-menu", role: "menu", "aria-label": label, hidden: "" });
    this.node = make("div", { class: "cnb-menu-place" }, this.opener, this.box);
    chat.listen(this.box, "keydown", (event) => this.onKey(event));
    chat.listen(document, "pointerdown", (event) => { if (this.open && !this.node.contains(event.target)) this.close(); });
  }

  show() {
    this.chat.store.say("sessions");
    this.open = true;
    this.asks = false;
    this.box.hidden = false;
    this.opener.setAttribute("aria-expanded", "true");
    this.refresh();
    // What stands below the chat would cover it, or cut it off.
    const room = this.chat.root.getBoundingClientRect().bottom - this.opener.getBoundingClientRect().bottom;
    this.box.style.maxHeight = `${room - 8}px`;
    this.box.querySelector("button")?.focus();
  }

  close() {
    if (!this.open) return;
    const had = this.node.contains(document.activeElement);
    this.open = false;
    this.box.hidden = true;
    this.opener.setAttribute("aria-expanded", "false");
    if (had) this.opener.focus();
  }

  refresh() {
    if (!this.open || this.asks) return;
    const at = [...this.box.querySelectorAll("button")].indexOf(document.activeElement);
    this.box.replaceChildren(...this.list());
    if (at >= 0) this.box.querySelectorAll("button")[at]?.focus();
  }

  ask(label, value, done) {
    this.asks = true;
    const input = make("input", { type: "text", class: "cnb-text", "aria-label": label, placeholder: label });
    input.value = value;
    const say = () => {
      if (!input.value.trim()) return;
      this.close();
      done(input.value.trim());
    };
    this.chat.listen(input, "keydown", (event) => {
      if (event.key !== "Enter" || !event.isTrusted || event.isComposing) return;
      // The same key would press the button that gets the focus.
      event.preventDefault();
      say();
    });
    this.box.replaceChildren(make("div", { class: "cnb-ask" }, input, this.chat.button("OK", "cnb-main", say)));
    input.focus();
    input.select();
  }

  // A question that is answered by a button; Escape closes the menu, and nothing is done.
  confirm(question, label, done) {
    this.asks = true;
    const yes = this.chat.button(label, "cnb-warn", () => { this.close(); done(); });
    const no = this.chat.button("Cancel", "", () => this.close());
    this.box.replaceChildren(make("div", { class: "cnb-hint" }, question), make("div", { class: "cnb-ask" }, yes, no));
    no.focus();
  }

  onKey(event) {
    const items = [...this.box.querySelectorAll("button")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || this.asks) return;
    event.preventDefault();
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length]?.focus();
  }
}

function group(nodes, height = nodes.length * GUESSED) {
  const node = make("div", { class: "cnb-group" }, ...nodes);
  node.style.containIntrinsicBlockSize = `auto ${Math.round(height)}px`;
  return node;
}

// What a `Card` asks of its model, for one entry of the chat.
class QuestionModel {
  constructor(store, entry) {
    this.store = store;
    this.entry = entry;
    this.handlers = new Map();
  }

  get(key) {
    return key === "body" ? this.entry.html : this.entry.more[key] ?? "";
  }

  on(event, handler) { this.handlers.set(event, handler); }

  off(event) { this.handlers.delete(event); }

  update(entry) {
    this.entry = entry;
    this.handlers.get("change:phase")?.();
  }

  send({ kind, nonce, ...content }) {
    if (kind === "decision") this.store.tell({ ...content, kind: "decide", question: this.entry.id });
  }
}

// -- code --

function decorate(node) {
  if (!node.classList.contains("cnb-entry-text")) return;
  for (const code of node.querySelectorAll(".cnb-code")) {
    if (code.querySelector(".cnb-tools")) continue;
    const language = code.dataset.language ?? "";
    const button = (what, label) => make("button", { type: "button", class: "cnb-button cnb-small", "data-do": what }, label);
    const tools = [button("copy", "Copy")];
    if (["python", "py", "python3", "ipython", ""].includes(language)) tools.push(button("cell", "To cell"));
    code.prepend(make("div", { class: "cnb-tools" }, make("span", { class: "cnb-language" }, language), ...tools));
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", {});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

// JupyterLab and Notebook 7 have a button below the last cell that adds one; elsewhere the code is copied.
async function toCell(root, text) {
  const source = text.replace(/\n$/, "");
  const footer = root.closest(".jp-Notebook")?.parentElement?.querySelector(".jp-Notebook-footer");
  if (footer) {
    const before = new Set(document.querySelectorAll(".jp-CodeCell"));
    footer.click();
    for (let tries = 0; tries < 40; tries++) {
      await new Promise((done) => setTimeout(done, 25));
      const cell = [...document.querySelectorAll(".jp-CodeCell")].find((node) => !before.has(node));
      const editor = cell?.querySelector(".cm-content");
      if (!editor) continue;
      editor.focus();
      const data = new DataTransfer();
      data.setData("text/plain", source);
      editor.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
      return "Added";
    }
  }
  await copy(source);
  return "Copied; paste it into a cell";
}

function flash(button, text) {
  const label = button.textContent;
  button.textContent = text;
  setTimeout(() => { button.textContent = label; }, 1500);
}

const SHAPES = {
  send: "M8 13V3M3.5 7.5 8 3l4.5 4.5",
  stop: "M4.5 4.5h7v7h-7z",
  open: "M4.5 6.5 8 10l3.5-3.5",
  down: "M8 3v10M3.5 8.5 8 13l4.5-4.5",
};

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", class: `cnb-icon cnb-icon-${name}`, "aria-hidden": "true" })) svg.setAttribute(key, value);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

export default { initialize, render: renderChat };

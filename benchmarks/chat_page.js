// What a benchmark asks a notebook's page. Nothing here changes what is shown.
window.gauge = {
  cell(number) {
    return document.querySelector(`.jp-Cell[data-windowed-list-index="${number}"]`);
  },

  // Its execution is over.
  ran(number) {
    return /\[\d+\]/.test(this.cell(number).querySelector('.jp-InputPrompt').textContent);
  },

  // From now on `sight` is how many milliseconds after Ctrl+Enter the chat's last message had been drawn.
  watch(number, text, patience) {
    const begin = performance.now();
    this.pressed = null;
    this.sight = new Promise((resolve, reject) => {
      const look = (now) => {
        if (this.inSight(number, text)) requestAnimationFrame((drawn) => resolve(drawn - this.pressed));
        else if (now - begin > patience) reject(new Error(`${text} was not seen`));
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
  },

  inSight(number, text) {
    const list = this.cell(number)?.querySelector('.cnb-list');
    const last = list?.querySelector('.cnb-lines').lastElementChild;
    if (!last?.textContent.includes(text)) return false;
    const { top, bottom } = last.getBoundingClientRect();
    const frame = list.getBoundingClientRect();
    return bottom > top && top < frame.bottom && bottom > frame.top && bottom <= window.innerHeight + 1;
  },

  begin() {
    this.frames = [];
    this.tasks = [];
    this.observer = new PerformanceObserver((found) => this.note(found.getEntries()));
    this.observer.observe({ type: 'longtask' });
    const tick = (now) => {
      this.frames.push(now);
      this.frame = requestAnimationFrame(tick);
    };
    this.frame = requestAnimationFrame(tick);
  },

  note(entries) {
    this.tasks.push(...entries.map((entry) => entry.duration));
  },

  end() {
    cancelAnimationFrame(this.frame);
    this.note(this.observer.takeRecords());
    this.observer.disconnect();
    const gaps = this.frames.slice(1).map((now, index) => now - this.frames[index]);
    return {
      seconds: gaps.reduce((sum, gap) => sum + gap, 0) / 1000,
      frames: gaps.length,
      longest_frame: Math.max(...gaps),
      longest_task: Math.max(0, ...this.tasks),
    };
  },
};

document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.ctrlKey) window.gauge.pressed ??= performance.now();
}, true);

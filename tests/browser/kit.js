// What the tests ask a notebook's page, in JupyterLab and in Notebook 7. Nothing here changes what is shown.
window.kit = {
  runs: {},
  texts: {},

  panel() {
    const app = window.jupyterapp;
    const panel = app && app.shell.currentWidget;
    return panel && panel.content && panel.content.widgets && panel.sessionContext ? panel : null;
  },

  cell(index) {
    return this.panel().content.widgets[index];
  },

  shown() {
    const panel = this.panel();
    return panel !== null && panel.context.isReady && panel.isVisible && panel.content.widgets.length > 0;
  },

  kernelStatus() {
    const session = this.panel().sessionContext.session;
    return session && session.kernel ? session.kernel.status : 'none';
  },

  // A new code cell below the last one; its number.
  add(source) {
    const model = this.panel().content.model.sharedModel;
    return model.insertCell(model.cells.length, {cell_type: 'code', source}) && model.cells.length - 1;
  },

  // Run a cell as Shift+Enter does; `runs` says when its execution is over.
  start(index) {
    const content = this.panel().content;
    content.deselectAll();
    content.activeCellIndex = index;
    content.scrollToItem(index);
    this.runs[index] = 'running';
    this.watch(index);
    const over = () => { this.runs[index] = 'over'; };
    window.jupyterapp.commands.execute('notebook:run-cell').then(over, over);
  },

  // Remember each different text that the reader of this cell's output gets to see.
  watch(index) {
    const area = this.cell(index).outputArea.node;
    const texts = this.texts[index] = [];
    const note = () => {
      const text = area.textContent;
      if (text !== texts[texts.length - 1]) texts.push(text);
    };
    new MutationObserver(note).observe(area, {childList: true, characterData: true, subtree: true});
  },

  outputs(index) {
    return this.cell(index).model.toJSON().outputs;
  },

  codeCells() {
    return this.panel().content.widgets.filter(cell => cell.model.type === 'code');
  },

  allRun() {
    return this.codeCells().every(cell => cell.model.executionCount !== null && !this.waits(cell))
      && this.kernelStatus() === 'idle';
  },

  waits(cell) {
    return cell.node.querySelector('.jp-InputPrompt').textContent.includes('*');
  },

  // The element that scrolls the notebook.
  scroller() {
    let node = this.cell(0).node.parentElement;
    while (node && !/auto|scroll/.test(getComputedStyle(node).overflowY)) node = node.parentElement;
    return node;
  },
};

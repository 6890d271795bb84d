/** Short messages about what was just done, with the way to undo it. */

export interface Toast {
  id: number;
  text: string;
  kind: 'done' | 'failed';
  undo?: () => Promise<void> | void;
}

const SHOWN_MS = 8000;

class Toasts {
  list = $state.raw<Toast[]>([]);
  #next = 1;

  show(text: string, kind: Toast['kind'] = 'done', undo?: Toast['undo']): void {
    const toast: Toast = { id: this.#next++, text, kind, ...(undo ? { undo } : {}) };
    this.list = [...this.list.slice(-3), toast];
    setTimeout(() => this.close(toast.id), SHOWN_MS);
  }

  close(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();

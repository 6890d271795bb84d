/** Runes everywhere; component styles become files, because the program's policy allows no inline style. */
export default {
  compilerOptions: { runes: true },
};

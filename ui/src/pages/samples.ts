/** The example customers of the form: the six unlabelled rows of the agency's own file, as they are. */
import file from '../../../data/new_customers.csv?raw';
import { parseCsv } from '../lib/csv';
import { EMPTY, FIELDS, readDate, type Typed } from '../lib/form';

export function samples(text: string): Typed[] {
  const [header = [], ...rows] = parseCsv(text);
  return rows.map((row) => {
    const typed: Typed = { ...EMPTY };
    for (const field of FIELDS) typed[field] = row[header.indexOf(field)] ?? '';
    // A date field wants its T.
    typed.Onboard_date = (readDate(typed.Onboard_date) ?? '').replace(' ', 'T');
    return typed;
  });
}

export const SAMPLES = samples(file);

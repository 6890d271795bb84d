//! Columns as bytes: each value is replaced by the number of its bin, once, before any tree is grown.
//!
//! Bin 0 is "missing". Numbers lie in up to 255 bins, one per value where there are few, else of about equal counts;
//! categories have one bin per code. Cuts come from a sample of the rows that are learnt from, never from others.
#![expect(clippy::indexing_slicing, reason = "dense kernels: sizes are equal by construction")]

/// Rows that decide where the cuts are; more hardly move them.
const SAMPLE: usize = 20_000;
/// Bins of numbers, apart from the one for missing values: one per sixteen rows, between 32 and 255.
fn bins_for(rows: usize) -> usize {
    (rows / 16).clamp(32, 255)
}
/// Columns that are kept side by side in one word, for histograms.
pub(super) const SIDE_BY_SIDE: usize = 4;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, in an order that means something.
    Numbers,
    /// Codes of a category.
    Codes,
}

/// The code of a category as a byte; the last code that fits stands for all after it.
pub(super) fn code(value: f64) -> u8 {
    value.clamp(0.0, 254.0) as u8
}

/// How one column is binned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bins {
    pub kind: Kind,
    /// Upper ends of the bins of numbers but the last.
    pub cuts: Vec<f64>,
    /// One more than the highest bin.
    pub count: usize,
}

impl Bins {
    fn learn(values: &[f64], rows: &[usize], kind: Kind) -> Self {
        if kind == Kind::Codes {
            let top = rows.iter().map(|row| values[*row]).filter(|v| !v.is_nan()).fold(0.0, f64::max);
            return Self { kind, cuts: Vec::new(), count: usize::from(code(top)) + 2 };
        }
        let step = rows.len().div_ceil(SAMPLE).max(1);
        let mut sample: Vec<f64> =
            rows.iter().step_by(step).map(|row| values[*row]).filter(|v| !v.is_nan()).collect();
        sample.sort_unstable_by(f64::total_cmp);
        let cuts = cuts(&sample, bins_for(rows.len()));
        let count = cuts.len() + 2;
        Self { kind, cuts, count }
    }

    fn bin(&self, value: f64) -> u8 {
        if value.is_nan() {
            return 0;
        }
        match self.kind {
            Kind::Codes => code(value) + 1,
            Kind::Numbers => 1 + self.cuts.partition_point(|cut| *cut < value) as u8,
        }
    }
}

/// Cuts between sorted values: between any two where they fit, else so that bins hold about equal shares.
fn cuts(sorted: &[f64], bins: usize) -> Vec<f64> {
    let mut runs: Vec<(f64, usize)> = Vec::new();
    for run in sorted.chunk_by(|a, b| a == b) {
        runs.push((run[0], run.len()));
    }
    let (mut cuts, mut held, mut left) = (Vec::new(), 0usize, sorted.len());
    let few = runs.len() <= bins;
    for (index, pair) in runs.windows(2).enumerate() {
        let ((value, count), (next, next_count)) = (pair[0], pair[1]);
        held += count;
        let bins_left = bins - cuts.len();
        let fair = left as f64 / bins_left as f64;
        let rest_fits = runs.len() - index <= bins_left;
        if few || rest_fits || held as f64 >= fair || held as f64 + 0.5 * next_count as f64 > fair {
            if bins_left < 2 {
                break;
            }
            let middle = 0.5 * value + 0.5 * next;
            // Between two neighbouring numbers there is no third: the lower one is the cut then.
            cuts.push(if middle >= value && middle < next { middle } else { value });
            left -= held;
            held = 0;
        }
    }
    cuts
}

/// A table of bins.
#[derive(Debug, Clone)]
pub struct Binned {
    pub(super) bins: Vec<Bins>,
    /// Column by column.
    pub(super) columns: Vec<Vec<u8>>,
    /// Four columns side by side, for histograms.
    pub(super) blocks: Vec<Vec<[u8; SIDE_BY_SIDE]>>,
    /// The columns in the order in which ties are settled.
    pub(super) order: Vec<usize>,
}

impl Binned {
    /// Bins all rows of the columns, with cuts from the listed ones. `order` names each column once, in the order in
    /// which ties between columns are settled.
    #[must_use]
    pub fn learn(columns: &[Vec<f64>], kinds: &[Kind], rows: &[usize], order: Vec<usize>) -> Self {
        let bins: Vec<Bins> =
            columns.iter().zip(kinds).map(|(values, kind)| Bins::learn(values, rows, *kind)).collect();
        let bytes: Vec<Vec<u8>> = columns
            .iter()
            .zip(&bins)
            .map(|(values, bins)| values.iter().map(|value| bins.bin(*value)).collect())
            .collect();
        let blocks = bytes
            .chunks(SIDE_BY_SIDE)
            .map(|four| {
                (0..four[0].len())
                    .map(|row| std::array::from_fn(|i| four.get(i).map_or(0, |column| column[row])))
                    .collect()
            })
            .collect();
        Self { bins, columns: bytes, blocks, order }
    }

    /// How many columns there are.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_a_bin_each_and_many_share_evenly() {
        let check = |values: &[f64], expect: &[f64]| {
            let rows: Vec<usize> = (0..values.len()).collect();
            assert_eq!(Bins::learn(values, &rows, Kind::Numbers).cuts, expect, "{values:?}");
        };
        check(&[3.0, 1.0, 1.0, 2.0, f64::NAN], &[1.5, 2.5]);
        check(&[f64::NAN], &[]);
        check(&[7.0, 7.0], &[]);
        check(&[-f64::MAX, f64::MAX], &[0.0]);
        check(&[1.0, 1.0 + f64::EPSILON], &[1.0]);
        let values: Vec<f64> = (0..10_000).map(|i| f64::from(i * 7919 % 10_000)).collect();
        let rows: Vec<usize> = (0..values.len()).collect();
        let bins = Bins::learn(&values, &rows, Kind::Numbers);
        assert_eq!((bins.cuts.len(), bins.count), (254, 256));
        let mut counts = [0; 256];
        values.iter().for_each(|v| counts[usize::from(bins.bin(*v))] += 1);
        assert_eq!(counts[0], 0);
        assert!(counts[1..].iter().all(|n| (30..=50).contains(n)), "{counts:?}");
        assert_eq!(bins.bin(f64::NAN), 0);
        assert_eq!((bins.bin(f64::MIN), bins.bin(f64::MAX)), (1, 255));
    }

    #[test]
    fn codes_that_do_not_fit_share_the_last_bin() {
        let bins = Bins::learn(&[0.0, 255.0], &[0, 1], Kind::Codes);
        assert_eq!((bins.bin(0.0), bins.bin(3.0), bins.bin(254.0), bins.bin(255.0)), (1, 4, 255, 255));
        assert_eq!(bins.bin(f64::NAN), 0);
        assert_eq!(bins.count, 256);
    }
}

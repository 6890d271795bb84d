//! Looks at the cells of one column and says what the column seems to be.

use super::{DISTINCT_LIMIT, Role};
use crate::{
    cells::{self, DateFormat, NumberFormat},
    error::ChurnError,
    table::TextColumn,
    words::Words,
};
use rustc_hash::FxHashSet;

/// At least this share of the cells must read as a number (or date) for the column to be one.
const SHARE_OF_KIND: f64 = 0.95;
/// From this share of distinct values on, a text names its row rather than a group.
const SHARE_OF_NAMES: f64 = 0.5;
/// Below this number of rows, distinctness says nothing about ids.
const ROWS_FOR_IDS: usize = 20;

/// A column without a date in so many cells is not looked at for more.
const CELLS_FOR_DATES: usize = 1_000;

/// What was counted in one column.
pub(super) struct Facts {
    pub rows: usize,
    pub present: usize,
    pub distinct: usize,
    pub numbers: usize,
    /// Cells that are present and not numbers.
    pub odd_numbers: usize,
    pub integers: usize,
    /// Whether the numbers, in their order, are one apart.
    pub consecutive: bool,
    pub booleans: usize,
    pub dates: usize,
    pub latest_day: Option<f64>,
    pub date_format: DateFormat,
    /// Whether day first and month first read all dates.
    pub dates_ambiguous: bool,
    pub with_spaces: usize,
    pub format: NumberFormat,
}

pub(super) fn facts(column: &TextColumn, dates: Option<DateFormat>) -> Facts {
    let mut read = [(0usize, None::<f64>); DateFormat::ALL.len()];
    let mut points = Vec::new();
    let mut commas = 0usize;
    let mut facts = Facts {
        rows: 0,
        present: 0,
        distinct: 0,
        numbers: 0,
        odd_numbers: 0,
        integers: 0,
        consecutive: false,
        booleans: 0,
        dates: 0,
        latest_day: None,
        date_format: DateFormat::default(),
        dates_ambiguous: false,
        with_spaces: 0,
        format: NumberFormat::Point,
    };
    let mut seen = FxHashSet::default();
    for cell in column.cells() {
        facts.rows += 1;
        let Some(text) = cell else { continue };
        facts.present += 1;
        if seen.len() < DISTINCT_LIMIT {
            seen.insert(text);
        }
        if let Some(value) = cells::number(text, NumberFormat::Point) {
            points.push(value);
        }
        commas += usize::from(cells::number(text, NumberFormat::Comma).is_some());
        facts.booleans += usize::from(cells::boolean(text).is_some());
        facts.with_spaces += usize::from(text.contains(' '));
        let hopeless = facts.present > CELLS_FOR_DATES && read.iter().all(|(count, _)| *count == 0);
        for (format, (count, latest)) in DateFormat::ALL.into_iter().zip(&mut read) {
            if hopeless {
                break;
            }
            if let Some(day) = cells::day_number(text, format) {
                *count += 1;
                *latest = Some(latest.map_or(day, |latest: f64| latest.max(day)));
            }
        }
    }
    // The format that reads most; of equals the first, so day first before month first.
    let best = DateFormat::ALL
        .into_iter()
        .zip(read)
        .filter(|(format, _)| dates.is_none_or(|named| named == *format));
    for (format, (count, latest)) in best {
        if count > facts.dates || dates.is_some() {
            (facts.date_format, facts.dates, facts.latest_day) = (format, count, latest);
        }
    }
    let [_, (day_first, _), (month_first, _), _] = read;
    facts.dates_ambiguous =
        dates.is_none() && facts.date_format == DateFormat::DayFirst && day_first == month_first;
    facts.distinct = seen.len();
    facts.integers = points.iter().filter(|v| v.fract() == 0.0).count();
    facts.consecutive = points.len() == facts.present
        && points.len() >= ROWS_FOR_IDS
        && points.iter().zip(points.iter().skip(1)).all(|(a, b)| (b - a - 1.0).abs() < 1e-9);
    facts.numbers = points.len();
    if commas > facts.numbers {
        facts.format = NumberFormat::Comma;
        facts.numbers = commas;
    }
    facts.odd_numbers = facts.present - facts.numbers;
    facts
}

fn mostly(count: usize, of: usize) -> bool {
    of > 0 && count as f64 >= SHARE_OF_KIND * of as f64
}

/// Whether a name says that its column identifies something: `id`, `customer_id`, `CustomerId`, `uuid`, `rownumber`.
fn named_like_an_id(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    matches!(
        lower.as_str(),
        "id" | "uuid" | "guid" | "key" | "rownumber" | "row_number" | "index" | "customerid"
    ) || lower.ends_with("_id")
        || lower.ends_with(" id")
        || lower.ends_with("uuid")
        || name.ends_with("Id")
        || name.ends_with("ID")
}

/// The role that a column seems to have, and why.
pub(super) fn infer(name: &str, facts: &Facts) -> (Role, Words) {
    let all_different = facts.rows >= ROWS_FOR_IDS && facts.present > 0 && {
        let cap = facts.present.min(DISTINCT_LIMIT);
        facts.distinct as f64 >= SHARE_OF_KIND * cap as f64
    };
    if facts.present == 0 {
        return (Role::Constant, Words::new("empty in each row", "vide dans chaque ligne"));
    }
    if facts.distinct == 1 && facts.present == facts.rows {
        return (Role::Constant, Words::new("the same in each row", "identique dans chaque ligne"));
    }
    if all_different && named_like_an_id(name) {
        return (
            Role::Id,
            Words::new(
                format!(
                    "named like an identifier, {} different values in {} rows",
                    facts.distinct, facts.present
                ),
                format!(
                    "nommée comme un identifiant, {} valeurs pour {} lignes",
                    facts.distinct, facts.present
                ),
            ),
        );
    }
    if facts.booleans == facts.present && facts.distinct <= 2 {
        return (Role::Boolean, Words::new("yes or no in each row", "oui ou non dans chaque ligne"));
    }
    if facts.consecutive {
        return (Role::Id, Words::new("counts the rows, one by one", "compte les lignes, une par une"));
    }
    // 20240630 is a number as well: where nearly all are days of a calendar, it is a date.
    if mostly(facts.numbers, facts.present) && !mostly(facts.dates, facts.present) {
        return (
            Role::Number,
            Words::new(
                format!("numbers in {} of {} cells", facts.numbers, facts.present),
                format!("des nombres dans {} cellules sur {}", facts.numbers, facts.present),
            ),
        );
    }
    if mostly(facts.dates, facts.present) {
        return (
            Role::Date,
            Words::new(
                "dates: learnt from as an age in days",
                "des dates : lues comme une ancienneté en jours",
            ),
        );
    }
    let many = facts.distinct >= DISTINCT_LIMIT
        || (facts.present >= ROWS_FOR_IDS && facts.distinct as f64 > SHARE_OF_NAMES * facts.present as f64);
    if many {
        let words = Words::new(
            format!(
                "{} different texts in {} rows: each names its row, nothing to learn from",
                facts.distinct, facts.present
            ),
            format!(
                "{} textes différents pour {} lignes : chacun nomme sa ligne, rien à apprendre",
                facts.distinct, facts.present
            ),
        );
        let role = if all_different && facts.with_spaces == 0 { Role::Id } else { Role::FreeText };
        return (role, words);
    }
    (
        Role::Category,
        Words::new(
            format!("{} different words in {} rows", facts.distinct, facts.present),
            format!("{} mots différents pour {} lignes", facts.distinct, facts.present),
        ),
    )
}

/// Refuses a role, given by hand, that the cells cannot have.
pub(super) fn check_fits(name: &str, role: Role, facts: &Facts) -> Result<(), ChurnError> {
    let problem = match role {
        Role::Number | Role::Value if facts.numbers == 0 => Some("none of its cells is a number"),
        Role::Date if facts.dates == 0 => Some("none of its cells is a date"),
        Role::Boolean if facts.booleans == 0 => Some("none of its cells is a yes or no"),
        _ => None,
    };
    match problem {
        None => Ok(()),
        Some(reason) => Err(ChurnError::UnfitColumn {
            column: name.to_owned(),
            role: role.name().to_owned(),
            reason: reason.to_owned(),
        }),
    }
}

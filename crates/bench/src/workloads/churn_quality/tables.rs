//! Made-up tables whose shapes differ as real ones do: sizes, shares of leavers, categories of few and of many levels, blanks that
//! mean something, straight and bent risks. Each is drawn anew from its seed, so none lies in the repository.

use vigie_churn::Table;

/// A table as text, with the answer in the last column.
pub struct Made {
    /// Its name in the figures.
    pub name: &'static str,
    /// Column names; those that begin with `c_` hold words.
    pub names: Vec<String>,
    /// Row by row; blanks are empty.
    pub rows: Vec<Vec<String>>,
}

impl Made {
    /// The listed rows as the library reads them.
    pub fn table(&self, rows: &[usize]) -> anyhow::Result<Table> {
        let mut table = Table::new(self.names.iter().cloned())?;
        for row in rows.iter().filter_map(|row| self.rows.get(*row)) {
            let cells: Vec<Option<&str>> = row.iter().map(|cell| Some(cell.as_str())).collect();
            table.push_row(&cells)?;
        }
        Ok(table)
    }

    /// The answers, 1 or 0.
    pub fn answers(&self) -> Vec<f64> {
        self.rows.iter().map(|row| f64::from(u8::from(row.last().is_some_and(|cell| cell == "1")))).collect()
    }
}

/// A stream of chance from a seed (xorshift).
pub struct Chance(u64);

impl Chance {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            chance.unit();
        }
        chance
    }

    /// Between 0 and 1.
    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (sum of uniforms).
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    fn yes(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count.saturating_sub(1))
    }
}

/// One row while it is made.
pub struct Row<'a> {
    cells: Vec<(&'static str, String)>,
    log_odds: f64,
    chance: &'a mut Chance,
}

impl Row<'_> {
    fn number(&mut self, name: &'static str, value: f64, decimals: usize) -> f64 {
        self.cells.push((name, format!("{value:.decimals$}")));
        value
    }

    fn blank(&mut self, share: f64) -> bool {
        let blank = self.chance.yes(share);
        if blank && let Some(last) = self.cells.last_mut() {
            last.1.clear();
        }
        blank
    }

    fn word(&mut self, name: &'static str, words: &[&str], weights: &[f64]) -> usize {
        let mut left = self.chance.unit() * weights.iter().sum::<f64>();
        let mut chosen = 0;
        for (index, weight) in weights.iter().enumerate() {
            chosen = index;
            if left < *weight {
                break;
            }
            left -= weight;
        }
        self.cells.push((name, words.get(chosen).copied().unwrap_or_default().to_owned()));
        chosen
    }
}

pub type Maker = fn(&mut Row<'_>);

/// Name, rows, maker.
pub const TABLES: [(&str, usize, Maker); 10] = [
    ("telecom", 7_043, telecom),
    ("bank", 10_000, bank),
    ("rare", 20_000, rare),
    ("levels", 12_000, levels),
    ("blanks", 8_000, blanks),
    ("bent", 6_000, bent),
    ("small-bent", 1_500, bent),
    ("small-straight", 1_500, straight),
    ("noisy", 4_000, noisy),
    ("large", 50_000, large),
];

/// Makes one of [`TABLES`].
pub fn make(name: &'static str, rows: usize, maker: Maker, seed: u64) -> Made {
    let mut chance = Chance::new(seed.wrapping_add(name.bytes().map(u64::from).sum::<u64>() * 7_919));
    let mut made = Made { name, names: Vec::new(), rows: Vec::with_capacity(rows) };
    for _ in 0..rows {
        let mut row = Row { cells: Vec::new(), log_odds: 0.0, chance: &mut chance };
        maker(&mut row);
        let left = row.chance.unit() < 1.0 / (1.0 + (-row.log_odds).exp());
        row.cells.push(("churn", u8::from(left).to_string()));
        if made.names.is_empty() {
            made.names = row.cells.iter().map(|(name, _)| (*name).to_owned()).collect();
        }
        made.rows.push(row.cells.into_iter().map(|(_, cell)| cell).collect());
    }
    made
}

fn pick(values: &[f64], index: usize) -> f64 {
    values.get(index).copied().unwrap_or_default()
}

/// 19 columns, most of them categories; contract and tenure work together.
fn telecom(row: &mut Row<'_>) {
    const YN: [&str; 2] = ["No", "Yes"];
    let senior = row.word("c_senior", &YN, &[0.84, 0.16]);
    row.word("c_gender", &["Female", "Male"], &[1.0, 1.0]);
    let partner = row.word("c_partner", &YN, &[1.0, 1.0]);
    row.word("c_dependents", &YN, &[if partner == 1 { 0.5 } else { 0.9 }, 0.3]);
    let tenure = (72.0 * row.chance.unit().powf(1.3)).ceil();
    row.number("tenure", tenure, 0);
    row.word("c_phone", &YN, &[0.1, 0.9]);
    row.word("c_lines", &YN, &[0.55, 0.45]);
    let internet = row.word("c_internet", &["DSL", "Fiber optic", "No"], &[0.34, 0.44, 0.22]);
    let mut services = 0;
    let mut secure = 0;
    for name in ["c_security", "c_backup", "c_protection", "c_support", "c_tv", "c_movies"] {
        let has = if internet == 2 {
            row.cells.push((name, "No internet service".to_owned()));
            0
        } else {
            row.word(name, &YN, &[0.55, 0.45])
        };
        services += has;
        if matches!(name, "c_security" | "c_support") {
            secure += has;
        }
    }
    let long = tenure / 72.0;
    let contract = row.word(
        "c_contract",
        &["Month-to-month", "One year", "Two year"],
        &[1.1 - 0.9 * long, 0.15 + 0.3 * long, 0.05 + 0.7 * long],
    );
    row.word("c_paperless", &YN, &[0.4, 0.6]);
    let payment = row.word("c_payment", &["Bank", "Card", "Electronic", "Mailed"], &[0.22, 0.22, 0.34, 0.22]);
    let monthly = 20.0
        + [25.0, 50.0, 0.0].get(internet).copied().unwrap_or_default()
        + 5.0 * services as f64
        + 3.0 * row.chance.normal();
    row.number("monthly", monthly, 2);
    let discount = 1.0 + 0.05 * row.chance.normal();
    row.number("total", monthly * tenure * discount, 2);
    row.log_odds = -0.6 - 1.6 * (tenure / 12.0).ln_1p() / 1.5
        + pick(&[0.9, -0.5, -1.4], contract)
        + pick(&[0.0, 0.9, -0.7], internet)
        + pick(&[0.0, 0.0, 0.45, 0.0], payment)
        - 0.45 * secure as f64
        + 0.3 * senior as f64
        + if internet == 1 && contract == 0 && tenure < 12.0 { 0.9 } else { 0.0 }
        + if monthly > 90.0 && contract == 0 { 0.5 } else { 0.0 };
}

/// 10 columns; age is a hill, two products are best, balances are often zero.
fn bank(row: &mut Row<'_>) {
    let score = (650.0 + 96.0 * row.chance.normal()).clamp(350.0, 850.0);
    row.number("credit", score, 0);
    let country = row.word("c_country", &["France", "Germany", "Spain"], &[0.5, 0.25, 0.25]);
    let gender = row.word("c_gender", &["F", "M"], &[0.45, 0.55]);
    let age = (39.0 + 10.0 * row.chance.normal() + 6.0 * row.chance.unit().powi(4)).clamp(18.0, 92.0);
    row.number("age", age, 0);
    let tenure = row.chance.below(11) as f64;
    row.number("tenure", tenure, 0);
    let balance =
        if row.chance.yes(0.36) { 0.0 } else { (120_000.0 + 30_000.0 * row.chance.normal()).max(0.0) };
    row.number("balance", balance, 2);
    let products = row.word("products", &["1", "2", "3", "4"], &[0.51, 0.46, 0.026, 0.006]);
    row.word("card", &["0", "1"], &[0.3, 0.7]);
    let active = row.word("active", &["0", "1"], &[0.49, 0.51]);
    let salary = 200_000.0 * row.chance.unit();
    row.number("salary", salary, 2);
    let hill = 2.6 * (-((age - 56.0) / 11.0).powi(2)).exp();
    row.log_odds = -1.9
        + hill * if active == 1 { 0.75 } else { 1.15 }
        + pick(&[0.4, -1.0, 2.2, 3.0], products)
        + pick(&[0.0, 0.75, 0.0], country)
        + if gender == 0 { 0.45 } else { 0.0 }
        - 0.75 * active as f64
        - 0.0006 * (score - 650.0)
        + if balance > 0.0 && products == 0 { 0.3 } else { 0.0 };
}

/// 3 % leave; 15 columns, half of them say nothing.
fn rare(row: &mut Row<'_>) {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut x = [0.0; 12];
    for (slot, name) in x.iter_mut().zip(names) {
        let value = row.chance.normal();
        *slot = row.number(name, value, 3);
    }
    let plan = row.word("c_plan", &["a", "b", "c", "d", "e"], &[5.0, 3.0, 1.0, 0.5, 0.5]);
    let region = row.word("c_region", &["n", "s", "e", "w"], &[1.0; 4]);
    let visits = (row.chance.unit().powi(3) * 60.0).floor();
    row.number("visits", visits, 0);
    let [a, b, c, d, ..] = x;
    row.log_odds = -4.6 + 0.8 * a - 0.5 * b + if c > 1.0 && d > 0.0 { 1.6 } else { 0.0 } - 0.04 * visits
        + pick(&[0.0, 0.3, 0.9, -0.5, 1.4], plan)
        + if region == 2 { 0.4 } else { 0.0 };
}

/// Categories of 40, 300 and 1,500 levels, some of which matter.
fn levels(row: &mut Row<'_>) {
    fn of(level: usize, salt: u64, spread: f64) -> f64 {
        spread * Chance::new(level as u64 * 31 + salt).normal()
    }
    let shop = (40.0 * row.chance.unit().powf(1.5)) as usize;
    row.cells.push(("c_shop", format!("shop {shop}")));
    let town = (300.0 * row.chance.unit().powi(2)) as usize;
    row.cells.push(("c_town", format!("town {town}")));
    let model = (1_500.0 * row.chance.unit().powi(2)) as usize;
    row.cells.push(("c_model", format!("model {model}")));
    let normal = row.chance.normal();
    let use_ = row.number("usage", normal, 3);
    let normal = row.chance.normal();
    let age = row.number("age", 45.0 + 12.0 * normal, 0);
    let calls = row.chance.below(9) as f64;
    row.number("calls", calls, 0);
    row.word("c_channel", &["web", "shop", "phone"], &[1.0, 1.0, 1.0]);
    row.log_odds = -1.2 + of(shop, 1, 0.6) + of(town, 2, 0.5) + of(model, 3, 0.3) - 0.5 * use_
        + 0.02 * (age - 45.0)
        + if calls > 5.0 { 0.8 } else { 0.0 };
}

/// Blanks that are not by chance: they follow the value, or the answer's own causes.
fn blanks(row: &mut Row<'_>) {
    let hidden = row.chance.normal();
    let mut sum = 0.0;
    for (name, weight, share) in [
        ("income", -0.5, 0.25),
        ("debt", 0.6, 0.15),
        ("visits", -0.4, 0.3),
        ("tickets", 0.5, 0.1),
        ("rating", -0.7, 0.45),
    ] {
        let value = row.chance.normal();
        row.number(name, value, 2);
        let goes = if value > 0.5 { 2.0 * share } else { 0.5 * share };
        let blank = row.blank(goes);
        sum += weight * value;
        if blank && name == "rating" {
            sum += 0.8;
        }
    }
    let noise = row.chance.normal();
    row.number("seen", hidden + noise, 2);
    row.blank(if hidden > 0.0 { 0.5 } else { 0.05 });
    for name in ["x1", "x2", "x3", "x4"] {
        let value = row.chance.normal();
        row.number(name, value, 2);
    }
    let segment = row.word("c_segment", &["a", "b", "c", ""], &[3.0, 2.0, 1.0, 1.0]);
    row.log_odds = -1.0 + sum + 0.6 * hidden + pick(&[0.0, 0.5, -0.5, 1.0], segment);
}

/// Curves and products that no straight line has.
fn bent(row: &mut Row<'_>) {
    let mut x = [0.0; 8];
    for (slot, name) in x.iter_mut().zip(["a", "b", "c", "d", "e", "f", "g", "h"]) {
        let value = 2.0 * row.chance.unit() - 1.0;
        *slot = row.number(name, value, 3);
    }
    let kind = row.word("c_kind", &["a", "b", "c"], &[1.0; 3]);
    row.word("c_other", &["a", "b", "c", "d"], &[1.0; 4]);
    let [a, b, c, d, e, ..] = x;
    row.log_odds = -0.8
        + 1.8 * (3.0 * a).sin()
        + 2.5 * b * c
        + 2.0 * (d * d - 0.33)
        + if kind == 1 { 1.5 * e } else { -0.5 * e };
}

/// What a regression says best.
fn straight(row: &mut Row<'_>) {
    let mut sum = -1.0;
    for (index, name) in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].into_iter().enumerate() {
        let normal = row.chance.normal();
        sum += [0.7, -0.5, 0.4, 0.3, -0.3, 0.2, 0.0, 0.0, 0.0, 0.0].get(index).copied().unwrap_or(0.0)
            * row.number(name, normal, 3);
    }
    let plan = row.word("c_plan", &["a", "b", "c", "d"], &[4.0, 3.0, 2.0, 1.0]);
    row.log_odds = sum + pick(&[0.0, 0.4, -0.4, 0.9], plan);
}

/// Little signal among thirty columns.
fn noisy(row: &mut Row<'_>) {
    const NAMES: [&str; 30] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
        "u", "v", "w", "x", "y", "z", "aa", "ab", "ac", "ad",
    ];
    let mut x = [0.0; 30];
    for (slot, name) in x.iter_mut().zip(NAMES) {
        let value = row.chance.normal();
        *slot = row.number(name, value, 3);
    }
    let [a, b, c, d, ..] = x;
    row.log_odds = -1.5 + 0.3 * a - 0.25 * b + if c > 0.0 && d > 0.0 { 0.5 } else { 0.0 };
}

/// 50,000 rows of everything.
fn large(row: &mut Row<'_>) {
    let mut x = [0.0; 10];
    for (slot, name) in x.iter_mut().zip(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]) {
        let value = row.chance.normal();
        *slot = row.number(name, value, 3);
        if matches!(name, "i" | "j") {
            row.blank(0.2);
        }
    }
    let plan = row.word("c_plan", &["a", "b", "c", "d", "e", "f"], &[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
    let town = (80.0 * row.chance.unit().powi(2)) as usize;
    row.cells.push(("c_town", format!("t{town}")));
    row.word("c_channel", &["web", "shop", "phone"], &[1.0; 3]);
    let months = (60.0 * row.chance.unit().powi(2)).ceil();
    row.number("months", months, 0);
    let [a, b, c, d, e, f, ..] = x;
    row.log_odds = -1.3 + 0.6 * a - 0.4 * b + 0.5 * c * d + 0.6 * (2.0 * e).sin()
        - 0.3 * (months / 6.0).ln_1p()
        + if plan >= 3 && f > 0.0 { 0.8 } else { 0.0 }
        + 0.35 * Chance::new(town as u64 * 17 + 5).normal();
}

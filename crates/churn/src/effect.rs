//! Does the action help? Risk says who leaves; this says whether acting changes it, and never mixes the two.
//!
//! Three honest figures: the plain difference in churn between those who got the action and those who did not;
//! the difference adjusted for who they are (g-computation on a logistic regression per group); and
//! whether the two groups were alike to begin with. Then, whether acting helps *some more than others* (see
//! [`uplift`]). Where an interval holds zero, the report says "no measurable effect", and each verdict comes with
//! the rule by which customers are then ranked. Nothing here proves a cause unless the action was given at random.

pub mod uplift;
mod xlearner;

use crate::{
    encode::{Encoder, Width},
    error::ChurnError,
    features::Dataset,
    logistic::{self, Fit, Matrix},
    metrics::{Interval, wilson},
    plan::{Plan, Role},
    special::{chi_square_tail, sigmoid},
    table::Table,
    words::{Lang, Words, signed},
};
use serde::{Deserialize, Serialize};
pub use uplift::{PolicyValue, Targeting};

/// How to measure an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EffectOptions {
    /// Adjust for these columns (the treatment is left out of them); all the plan allows otherwise.
    pub columns: Option<Vec<String>>,
    /// Decides folds and bootstrap.
    pub seed: u64,
    /// Share of customers that were given the action at random, where it was; unknown otherwise.
    pub randomised_share: Option<f64>,
    /// Budgets, as shares of all customers, for which the value of targeting is given.
    pub budgets: Vec<f64>,
    /// Bootstrap replicates behind each interval.
    pub replicates: usize,
}

impl Default for EffectOptions {
    fn default() -> Self {
        Self {
            columns: None,
            seed: 1,
            randomised_share: None,
            budgets: vec![0.1, 0.2, 0.3, 0.5],
            replicates: 400,
        }
    }
}

/// What the measurement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectVerdict {
    /// Customers with the action leave less, and the interval does not hold zero.
    Beneficial,
    /// The interval holds zero.
    NoMeasurableEffect,
    /// Customers with the action leave more, and the interval does not hold zero.
    Harmful,
}

impl EffectVerdict {
    /// The verdict of an adjusted difference in churn (below zero: less churn).
    #[must_use]
    pub fn of(adjusted: &Interval) -> Self {
        if adjusted.high < 0.0 {
            Self::Beneficial
        } else if adjusted.low > 0.0 {
            Self::Harmful
        } else {
            Self::NoMeasurableEffect
        }
    }

    /// The verdict in words.
    #[must_use]
    pub fn words(self) -> Words {
        match self {
            Self::Beneficial => Words::new(
                "customers with the action leave less often",
                "les clients concernés par l’action partent moins souvent",
            ),
            Self::NoMeasurableEffect => Words::new("no measurable effect", "aucun effet mesurable"),
            Self::Harmful => Words::new(
                "customers with the action leave MORE often",
                "les clients concernés par l’action partent PLUS souvent",
            ),
        }
    }
}

/// By what rule customers are ranked for the action, given what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankingRule {
    /// The measured effect differs between customers: rank by value x each one's effect.
    IndividualEffect,
    /// The action helps, nobody measurably more than others: rank by risk x value x the average effect.
    AverageEffect,
    /// Nothing measurable: rank by risk x value with an assumed effect, labelled so, beside a hold-out.
    AssumedEffect,
    /// The action goes with more churn: no recommendation, only a randomised trial.
    TrialOnly,
}

impl RankingRule {
    /// The rule in words, as it is shown beside every list that it made.
    #[must_use]
    pub fn words(self) -> Words {
        match self {
            Self::IndividualEffect => Words::new(
                "ranked by the measured effect on each customer, times their value",
                "classés par l’effet mesuré sur chaque client, multiplié par sa valeur",
            ),
            Self::AverageEffect => Words::new(
                "ranked by risk times value times the average measured effect; no difference between customers could be measured",
                "classés par risque × valeur × effet moyen mesuré ; aucune différence entre clients n’a pu être mesurée",
            ),
            Self::AssumedEffect => Words::new(
                "ranked by risk times value with an ASSUMED effect: none could be measured, keep a random hold-out",
                "classés par risque × valeur avec un effet SUPPOSÉ : aucun n’a pu être mesuré, gardez un groupe témoin tiré au sort",
            ),
            Self::TrialOnly => Words::new(
                "the data does not support this action: not recommended for the riskiest; try it only on customers drawn at random",
                "les données ne soutiennent pas cette action\u{a0}: déconseillée pour les plus à risque\u{a0}; à n’essayer que sur des clients tirés au sort",
            ),
        }
    }
}

/// How one column differs between the two groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnBalance {
    /// The column.
    pub name: String,
    /// Difference of the means in standard deviations; beyond 0.1 is worth a look.
    pub standardised_difference: f64,
}

/// Whether the two groups were alike to begin with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// Probability of differences like these if the action had been given at random (likelihood-ratio test of all
    /// columns at once).
    pub p_value: f64,
    /// Column by column (numbers and yes/no).
    pub columns: Vec<ColumnBalance>,
}

impl Balance {
    /// Whether assignment looks random.
    #[must_use]
    pub fn looks_random(&self) -> bool {
        self.p_value >= 0.05
    }
}

/// Everything measured about one action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectReport {
    /// The column of the action.
    pub treatment: String,
    /// Customers with it.
    pub treated: usize,
    /// Customers without it.
    pub untreated: usize,
    /// Churn among those with it.
    pub churn_treated: Interval,
    /// Churn among those without it.
    pub churn_untreated: Interval,
    /// Plain difference in churn (a share: 0.053 is 5.3 points); above zero: more churn with the action.
    pub difference: Interval,
    /// The same, adjusted for the other columns.
    pub adjusted: Interval,
    /// Whether the groups were alike.
    pub balance: Balance,
    /// Whether acting helps some more than others; absent where a group is too small to tell.
    pub targeting: Option<Targeting>,
    /// What it means.
    pub verdict: EffectVerdict,
    /// How to rank customers, given that.
    pub rule: RankingRule,
}

impl EffectReport {
    /// The report in sentences.
    #[must_use]
    pub fn text(&self, lang: Lang) -> String {
        let points = |i: &Interval| {
            let say = |v: f64| signed(v * 100.0, 1, lang);
            match lang {
                Lang::En => format!("{} points [{}, {}]", say(i.estimate), say(i.low), say(i.high)),
                Lang::Fr => format!("{} points [{} ; {}]", say(i.estimate), say(i.low), say(i.high)),
            }
        };
        let rate = |i: &Interval| crate::words::percent(i.estimate, lang);
        let (verdict, rule) = (self.verdict.words(), self.rule.words());
        let (name, verdict, rule) = (&self.treatment, verdict.text(lang), rule.text(lang));
        let (with, without) = (rate(&self.churn_treated), rate(&self.churn_untreated));
        let (plain, adjusted) = (points(&self.difference), points(&self.adjusted));
        let alike = match (self.balance.looks_random(), lang) {
            (true, Lang::En) => "the two groups look alike, as if drawn at random",
            (true, Lang::Fr) => "les deux groupes se ressemblent, comme tirés au sort",
            (false, Lang::En) => "the two groups were different to begin with: read with care",
            (false, Lang::Fr) => "les deux groupes différaient au départ : à lire avec prudence",
        };
        let p = crate::words::number(self.balance.p_value, 2, lang);
        match lang {
            Lang::En => format!(
                "{name}: {verdict}. Churn {with} with, {without} without: {plain}; adjusted {adjusted}. Balance p = {p}: {alike}. Rule: {rule}."
            ),
            Lang::Fr => format!(
                "{name} : {verdict}. Départs {with} avec, {without} sans : {plain} ; ajusté {adjusted}. Équilibre p = {p} : {alike}. Règle : {rule}."
            ),
        }
    }
}

/// Fewer rows than this in one of the four cells (treated or not, left or stayed) leave nothing to measure.
const ROWS_PER_CELL: usize = 5;

/// Measures the effect of the plan's treatment.
///
/// # Errors
/// When the plan names no treatment, when a group has too few leavers or stayers, and as [`Dataset::read`].
pub fn measure(table: &Table, plan: &Plan, options: &EffectOptions) -> Result<EffectReport, ChurnError> {
    let Some(treatment) = plan.only(Role::Treatment).map(str::to_owned) else {
        return Err(ChurnError::UnfitColumn {
            column: plan.target.clone(),
            role: "ground for an effect".to_owned(),
            reason: "no column says who got the action: name the treatment column".to_owned(),
        });
    };
    if let Some(share) = options.randomised_share
        && !(share > 0.0 && share < 1.0)
    {
        return Err(ChurnError::BadSetting {
            setting: "randomised_share",
            value: share.to_string(),
            expected: "a share above 0 and below 1 is needed",
        });
    }
    let wanted =
        options.columns.clone().unwrap_or_else(|| plan.features().into_iter().map(str::to_owned).collect());
    let columns: Vec<String> = wanted.into_iter().filter(|name| *name != treatment).collect();
    let data = Dataset::read(table, plan, Some(&columns))?;
    let group = data.treated.clone().unwrap_or_default();
    let rows: Vec<usize> =
        (0..data.rows()).filter(|row| group.get(*row).is_some_and(|t| !t.is_nan())).collect();
    let is_treated = |row: usize| group.get(row).is_some_and(|t| *t > 0.5);
    let count = |treated: bool, yes: bool| {
        rows.iter().filter(|row| is_treated(**row) == treated && data.is_yes(**row) == yes).count()
    };
    for (treated, yes) in [(true, true), (true, false), (false, true), (false, false)] {
        let found = count(treated, yes);
        if found < ROWS_PER_CELL {
            let with = if treated { "with" } else { "without" };
            let did = if yes { "left" } else { "stayed" };
            return Err(ChurnError::TooFewRows {
                what: format!("customers {with} {treatment} who {did}"),
                found,
                needed: ROWS_PER_CELL,
            });
        }
    }
    let arm = |treated| (count(treated, true) as f64, (count(treated, true) + count(treated, false)) as f64);
    let ((yes1, n1), (yes0, n0)) = (arm(true), arm(false));
    let (p1, p0) = (yes1 / n1, yes0 / n0);
    let spread = 1.959_964 * (p1 * (1.0 - p1) / n1 + p0 * (1.0 - p0) / n0).sqrt();
    let difference = Interval { estimate: p1 - p0, low: p1 - p0 - spread, high: p1 - p0 + spread };

    let mut encoder = Encoder::learn(&data, &rows, false);
    encoder.keep_strongest(&data, &rows, Width::affordable(rows.len()));
    let covariates = encoder.design(&data);
    // Two arms that a penalty cannot fit do not exist; the plain difference stands in all the same.
    let share = options.randomised_share.unwrap_or(n1 / (n1 + n0));
    let adjusted = adjusted(&data, &covariates, &rows, &group, share).unwrap_or(difference);
    let balance = balance(&data, &covariates, &rows, &group);
    let targeting = uplift::judge(&data, &rows, &group, &balance, options)?;
    let verdict = EffectVerdict::of(&adjusted);
    let rule = match (verdict, &targeting) {
        (EffectVerdict::Harmful, _) => RankingRule::TrialOnly,
        (_, Some(targeting)) if targeting.differs() => RankingRule::IndividualEffect,
        (EffectVerdict::Beneficial, _) => RankingRule::AverageEffect,
        (EffectVerdict::NoMeasurableEffect, _) => RankingRule::AssumedEffect,
    };
    Ok(EffectReport {
        treatment,
        treated: n1 as usize,
        untreated: n0 as usize,
        churn_treated: wilson(yes1, n1),
        churn_untreated: wilson(yes0, n0),
        difference,
        adjusted,
        balance,
        targeting,
        verdict,
        rule,
    })
}

/// Fits without a penalty where that has an answer, else with a trace of one.
fn plain_fit(x: &Matrix, y: &[f64], rows: &[usize], penalty: f64) -> Option<Fit> {
    [penalty, 1e-3].into_iter().find_map(|penalty| logistic::fit(x, y, rows, penalty, None).ok())
}

/// A regression without a penalty needs about this many rows of the rarer answer per column.
const ROWS_PER_COLUMN: usize = 10;

/// g-computation by group: two regressions say what each customer's risk would be with and without the action; the
/// mean difference, corrected by what both miss (doubly robust), with the interval of its influence function.
fn adjusted(data: &Dataset, x: &Matrix, rows: &[usize], group: &[f64], share: f64) -> Option<Interval> {
    let arm = |treated: bool| {
        let mine: Vec<usize> = rows
            .iter()
            .copied()
            .filter(|row| group.get(*row).is_some_and(|t| (*t > 0.5) == treated))
            .collect();
        let yes = mine.iter().filter(|row| data.is_yes(**row)).count();
        let rich = yes.min(mine.len() - yes) >= ROWS_PER_COLUMN * x.cols();
        plain_fit(x, &data.y, &mine, if rich { 0.0 } else { 0.03 })
    };
    let (with, without) = (arm(true)?, arm(false)?);
    let n = rows.len() as f64;
    let scores: Vec<f64> = rows
        .iter()
        .map(|&row| {
            let (r1, r0) = (sigmoid(with.log_odds(x, row)), sigmoid(without.log_odds(x, row)));
            let y = f64::from(u8::from(data.is_yes(row)));
            let missed = match group.get(row) {
                Some(t) if *t > 0.5 => (y - r1) / share,
                _ => -(y - r0) / (1.0 - share),
            };
            r1 - r0 + missed
        })
        .collect();
    let estimate = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|s| (s - estimate).powi(2)).sum::<f64>() / (n - 1.0) / n;
    let spread = 1.959_964 * variance.sqrt();
    Some(Interval { estimate, low: estimate - spread, high: estimate + spread })
}

/// Can the other columns tell who got the action? Likelihood-ratio test of a regression of the action on them.
fn balance(data: &Dataset, covariates: &Matrix, rows: &[usize], group: &[f64]) -> Balance {
    let n = rows.len() as f64;
    let share = rows.iter().filter_map(|row| group.get(*row)).sum::<f64>() / n;
    let null = -(share * share.ln() + (1.0 - share) * (1.0 - share).ln());
    let p_value = plain_fit(covariates, group, rows, 0.0)
        .map_or(0.0, |fit| chi_square_tail(2.0 * n * (null - fit.log_loss), covariates.cols() as f64));
    let columns = data
        .features
        .iter()
        .zip(&data.columns)
        .filter(|(feature, _)| !feature.is_category())
        .map(|(feature, values)| {
            let moments = |treated: bool| {
                let mine: Vec<f64> = rows
                    .iter()
                    .filter(|row| group.get(**row).is_some_and(|t| (*t > 0.5) == treated))
                    .filter_map(|row| values.get(*row).copied())
                    .filter(|v| !v.is_nan())
                    .collect();
                let n = mine.len().max(1) as f64;
                let mean = mine.iter().sum::<f64>() / n;
                (mean, mine.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
            };
            let ((m1, v1), (m0, v0)) = (moments(true), moments(false));
            let sd = ((v1 + v0) / 2.0).sqrt();
            let standardised_difference = if sd > 0.0 { (m1 - m0) / sd } else { 0.0 };
            ColumnBalance { name: feature.name.clone(), standardised_difference }
        })
        .collect();
    Balance { p_value, columns }
}

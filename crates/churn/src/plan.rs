//! What each column of a table is for: roles inferred from names and cells, each with its reason in words, open
//! to be overridden before anything is trained. Reads a table, changes nothing, fits nothing.
//!
//! The rules, first match wins: named by the caller; empty or constant; an id; yes/no; number; date; category;
//! free text. Leaks are looked for last: a column that alone tells nearly every answer is left out and said so.

mod leaks;
mod sniff;

use crate::{
    cells::{self, DateFormat, NumberFormat},
    error::ChurnError,
    table::{Table, TextColumn},
    words::Words,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A number, learnt from as it is.
    Number,
    /// A yes or no, learnt from as 1 or 0.
    Boolean,
    /// One of several words.
    Category,
    /// A date, learnt from as an age in days at the as-of date.
    Date,
    /// Names the row; not learnt from.
    Id,
    /// Text that is (nearly) different in each row; not learnt from.
    FreeText,
    /// The same in each row, or empty; nothing to learn.
    Constant,
    /// The answer to be predicted.
    Target,
    /// Whether the customer got the action whose effect is asked for. Learnt from like a boolean.
    Treatment,
    /// What the customer is worth. Learnt from like a number.
    Value,
    /// Left out by the caller, or as a leak.
    LeftOut,
}

impl Role {
    /// Whether a column of this role can be learnt from.
    #[must_use]
    pub fn is_feature(self) -> bool {
        matches!(
            self,
            Self::Number | Self::Boolean | Self::Category | Self::Date | Self::Treatment | Self::Value
        )
    }

    /// The role's name in files: `free_text`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Category => "category",
            Self::Date => "date",
            Self::Id => "id",
            Self::FreeText => "free_text",
            Self::Constant => "constant",
            Self::Target => "target",
            Self::Treatment => "treatment",
            Self::Value => "value",
            Self::LeftOut => "left_out",
        }
    }
}

/// What the caller knows about a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanOptions {
    /// The column to be predicted.
    pub target: String,
    /// The target's value that means yes; inferred from 1/0, true/false, yes/no, oui/non.
    pub positive: Option<String>,
    /// Whether the action was taken: 1 and 0, yes and no and the like. More values are refused.
    pub treatment: Option<String>,
    /// The column that names the row.
    pub id: Option<String>,
    /// What a customer is worth.
    pub value: Option<String>,
    /// The date at which ages of dates are counted; without it, date columns are left out.
    pub as_of: Option<String>,
    /// Roles that the caller knows better.
    pub roles: BTreeMap<String, Role>,
    /// How dates are written, where the caller knows better.
    pub dates: BTreeMap<String, DateFormat>,
}

impl PlanOptions {
    /// Options that name only the target.
    #[must_use]
    pub fn for_target(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }
}

/// One column's role, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnPlan {
    /// The column's name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Why this role.
    pub reason: Words,
    /// How many different values it has (counting stops at 10,000).
    pub distinct: usize,
    /// How many cells are missing.
    pub missing: usize,
    /// How numbers are written in it.
    pub format: NumberFormat,
    /// How dates are written in it.
    #[serde(default, skip_serializing_if = "DateFormat::is_usual")]
    pub dates: DateFormat,
}

/// Something the person who trains should look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// The column concerned, where there is one.
    pub column: Option<String>,
    /// What was seen and what was done.
    pub words: Words,
}

/// The plan for one table: shown before training, stored with the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The columns in the table's order.
    pub columns: Vec<ColumnPlan>,
    /// The column to be predicted.
    pub target: String,
    /// Its value that means yes.
    pub positive: String,
    /// The treatment's value that means yes, where a treatment was named.
    pub treated: Option<String>,
    /// Days since 1970-01-01 of the as-of date.
    pub as_of_day: Option<f64>,
    /// What to look at.
    pub warnings: Vec<Warning>,
}

/// Distinct values are counted up to here.
const DISTINCT_LIMIT: usize = 10_000;

impl Plan {
    /// Infers the plan of a table.
    ///
    /// # Errors
    /// When a named column does not exist, when the target is not a two-way answer or has only one, or when the
    /// as-of date is no date.
    pub fn infer(table: &Table, options: &PlanOptions) -> Result<Self, ChurnError> {
        for name in
            [Some(&options.target), options.treatment.as_ref(), options.id.as_ref(), options.value.as_ref()]
                .into_iter()
                .flatten()
                .chain(options.roles.keys())
                .chain(options.dates.keys())
        {
            table.column(name)?;
        }
        let as_of_day = match &options.as_of {
            None => None,
            Some(text) => {
                Some(cells::day_number(text, DateFormat::YearFirst).ok_or(ChurnError::BadSetting {
                    setting: "as_of",
                    value: text.clone(),
                    expected: "an ISO date is needed, such as 2024-06-30",
                })?)
            }
        };
        let positive = yes_value(table.column(&options.target)?, options.positive.as_deref())?;
        let treated = match &options.treatment {
            None => None,
            Some(name) => Some(yes_value(table.column(name)?, None).map_err(one_action)?),
        };
        let mut plan = Self {
            columns: Vec::new(),
            target: options.target.clone(),
            positive,
            treated,
            as_of_day,
            warnings: Vec::new(),
        };
        for column in table.columns() {
            let planned = plan_column(column, options, as_of_day, &mut plan.warnings)?;
            plan.columns.push(planned);
        }
        leaks::look(table, options, &mut plan)?;
        Ok(plan)
    }

    /// The plan of one column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnPlan> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The names of the columns to learn from, in the table's order.
    #[must_use]
    pub fn features(&self) -> Vec<&str> {
        self.columns.iter().filter(|c| c.role.is_feature()).map(|c| c.name.as_str()).collect()
    }

    /// The column of a role that occurs at most once (target, treatment, id, value).
    #[must_use]
    pub fn only(&self, role: Role) -> Option<&str> {
        self.columns.iter().find(|column| column.role == role).map(|column| column.name.as_str())
    }
}

/// Which value of a two-way column means yes.
/// An action is taken or not. Several in one column would be several questions, each with its own comparison.
fn one_action(error: ChurnError) -> ChurnError {
    match error {
        ChurnError::AmbiguousAnswer { column, values } => ChurnError::UnfitColumn {
            column,
            role: "treatment".to_owned(),
            reason: format!(
                "an action is taken or not, and it has {} values ({}): make a column of 1 and 0 for the action that you ask about",
                values.len(),
                values.iter().take(6).cloned().collect::<Vec<_>>().join(", ")
            ),
        },
        other => other,
    }
}

fn yes_value(column: &TextColumn, named: Option<&str>) -> Result<String, ChurnError> {
    let values = column.distinct(DISTINCT_LIMIT);
    let owned = || values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
    let Some(first) = values.first() else {
        return Err(ChurnError::Empty {
            what: format!("column {:?}", column.name()),
            hint: "all its cells are blank".to_owned(),
        });
    };
    if let Some(named) = named {
        if !values.contains(&named) {
            return Err(ChurnError::PositiveNotFound {
                column: column.name().to_owned(),
                value: named.to_owned(),
                known: owned(),
            });
        }
        if values.len() > 1 {
            return Ok(named.to_owned());
        }
    }
    if values.len() == 1 {
        return Err(ChurnError::OneClass {
            column: column.name().to_owned(),
            value: (*first).to_owned(),
            rows: column.cells().flatten().count(),
        });
    }
    let yes: Vec<&&str> = values.iter().filter(|v| cells::boolean(v) == Some(true)).collect();
    let all_boolean = values.iter().all(|v| cells::boolean(v).is_some());
    match yes.as_slice() {
        [one] if all_boolean && values.len() == 2 => Ok((**one).to_owned()),
        _ => Err(ChurnError::AmbiguousAnswer { column: column.name().to_owned(), values: owned() }),
    }
}

fn plan_column(
    column: &TextColumn,
    options: &PlanOptions,
    as_of_day: Option<f64>,
    warnings: &mut Vec<Warning>,
) -> Result<ColumnPlan, ChurnError> {
    let name = column.name();
    let facts = sniff::facts(column, options.dates.get(name).copied());
    let named = |role, en: &str, fr: &str| Some((role, Words::new(en, fr)));
    let given = if name == options.target {
        named(Role::Target, "named as the answer to predict", "désignée comme la réponse à prédire")
    } else if Some(name) == options.treatment.as_deref() {
        named(Role::Treatment, "named as the action taken", "désignée comme l’action menée")
    } else if Some(name) == options.id.as_deref() {
        named(Role::Id, "named as the identifier", "désignée comme l’identifiant")
    } else if Some(name) == options.value.as_deref() {
        named(Role::Value, "named as the customer's value", "désignée comme la valeur du client")
    } else if let Some(role) = options.roles.get(name) {
        if *role == Role::Target {
            return Err(ChurnError::UnfitColumn {
                column: name.to_owned(),
                role: "target".to_owned(),
                reason: format!("the target is already {:?}", options.target),
            });
        }
        named(*role, "role given by hand", "rôle donné à la main")
    } else {
        None
    };
    let (role, reason) = match given {
        Some((role, reason)) => {
            sniff::check_fits(name, role, &facts)?;
            (role, reason)
        }
        None => sniff::infer(name, &facts),
    };
    let (role, reason) = match (role, as_of_day) {
        (Role::Date, None) => (
            Role::LeftOut,
            Words::new(
                "a date, left out: no as-of date was given, so its age is not known",
                "une date, écartée : sans date de référence, son ancienneté est inconnue",
            ),
        ),
        _ => (role, reason),
    };
    if let (Role::Number | Role::Value, true) = (role, facts.odd_numbers > 0) {
        warnings.push(Warning {
            column: Some(name.to_owned()),
            words: Words::new(
                format!("{} cells of {name} are not numbers and count as missing", facts.odd_numbers),
                format!(
                    "{} cellules de {name} ne sont pas des nombres et comptent comme vides",
                    facts.odd_numbers
                ),
            ),
        });
    }
    if role == Role::Date && facts.dates_ambiguous {
        warnings.push(Warning {
            column: Some(name.to_owned()),
            words: Words::new(
                format!("{name}: each date could be read day first or month first; read day first (a roles file can say otherwise)"),
                format!("{name} : chaque date peut se lire jour ou mois en premier ; lue jour d’abord (un fichier de rôles peut dire le contraire)"),
            ),
        });
    }
    if role == Role::Date && facts.dates < facts.present {
        let odd = facts.present - facts.dates;
        warnings.push(Warning {
            column: Some(name.to_owned()),
            words: Words::new(
                format!("{odd} cells of {name} are not dates like the others and count as missing"),
                format!(
                    "{odd} cellules de {name} ne sont pas des dates comme les autres et comptent comme vides"
                ),
            ),
        });
    }
    if let (Role::Date, Some(day), Some(latest)) = (role, as_of_day, facts.latest_day)
        && latest > day
    {
        warnings.push(Warning {
            column: Some(name.to_owned()),
            words: Words::new(
                format!("{name} holds dates after the as-of date: what was not known then must not be learnt from"),
                format!(
                    "{name} contient des dates postérieures à la date de référence : ce qui n’était pas encore connu ne doit pas servir"
                ),
            ),
        });
    }
    Ok(ColumnPlan {
        name: name.to_owned(),
        role,
        reason,
        distinct: facts.distinct,
        missing: facts.rows - facts.present,
        format: facts.format,
        dates: facts.date_format,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, Vec<String>)]) -> Table {
        let mut table = Table::new(columns.iter().map(|(name, _)| *name)).unwrap();
        for row in 0..columns[0].1.len() {
            let cells: Vec<Option<&str>> =
                columns.iter().map(|(_, cells)| Some(cells[row].as_str())).collect();
            table.push_row(&cells).unwrap();
        }
        table
    }

    fn target() -> (&'static str, Vec<String>) {
        ("churn", (0..100).map(|i| u8::from(i % 3 == 0).to_string()).collect())
    }

    #[test]
    fn roles_follow_names_and_cells() {
        let check = |name: &str, cell: &dyn Fn(usize) -> String, expect: Role| {
            let table = table(&[(name, (0..100).map(cell).collect()), target()]);
            let mut options = PlanOptions::for_target("churn");
            options.as_of = Some("2024-01-01".to_owned());
            let plan = Plan::infer(&table, &options).unwrap();
            assert_eq!(plan.columns[0].role, expect, "{name}: {:?}", plan.columns[0].reason);
            assert!(!plan.columns[0].reason.fr.is_empty());
        };
        check("age", &|i| (20 + i * 7 % 50).to_string(), Role::Number);
        check("amount", &|i| format!("{}.{:02}", i * 37 % 91, i), Role::Number);
        check("price", &|i| format!("{},5", i * 7 % 13), Role::Number);
        check("manager", &|i| (i % 2).to_string(), Role::Boolean);
        check("member", &|i| ["oui", "non"][i % 2].to_owned(), Role::Boolean);
        check("plan", &|i| ["basic", "gold", "pro"][i * 7 % 11 % 3].to_owned(), Role::Category);
        check("since", &|i| format!("2020-01-{:02}", 1 + i % 28), Role::Date);
        check("joined", &|i| format!("{:02}/03/2021", 1 + i % 28), Role::Date);
        check("paid", &|i| format!("{} June 2021", 1 + i % 28), Role::Date);
        check("turnover", &|i| format!("1,{:03}.50", i * 7 % 997), Role::Number);
        check("chiffre", &|i| format!("{} {:03},5 €", 1 + i % 9, i * 7 % 997), Role::Number);
        check("customer_id", &|i| (7000 + i * 13).to_string(), Role::Id);
        check("n", &|i| (i + 1).to_string(), Role::Id);
        check("code", &|i| format!("c-{i:04}"), Role::Id);
        check("address", &|i| format!("{i} rue de la Paix"), Role::FreeText);
        check("country", &|_| "FR".to_owned(), Role::Constant);
        check("notes", &|_| String::new(), Role::Constant);
        check("nearly", &|i| if i == 3 { "abc".to_owned() } else { (i % 17).to_string() }, Role::Number);
    }

    #[test]
    fn a_column_that_tells_the_answer_is_left_out_and_said() {
        let leak =
            (0..100).map(|i| if i % 3 == 0 { "0".to_owned() } else { (i % 5 + 1).to_string() }).collect();
        let table = table(&[("balance_after_leaving", leak), target()]);
        let plan = Plan::infer(&table, &PlanOptions::for_target("churn")).unwrap();
        assert_eq!(plan.columns[0].role, Role::LeftOut);
        assert_eq!(plan.warnings[0].column.as_deref(), Some("balance_after_leaving"));
        let mut options = PlanOptions::for_target("churn");
        options.roles.insert("balance_after_leaving".to_owned(), Role::Number);
        let plan = Plan::infer(&table, &options).unwrap();
        assert_eq!(plan.columns[0].role, Role::Number, "a role given by hand wins");
        assert!(plan.warnings[0].words.en.contains("kept"), "and is still warned about");
    }

    #[test]
    fn answers_that_are_no_answer_are_refused_with_the_reason() {
        let check = |cells: &dyn Fn(usize) -> String, positive: Option<&str>, expect: &str| {
            let table = table(&[("churn", (0..10).map(cells).collect())]);
            let mut options = PlanOptions::for_target("churn");
            options.positive = positive.map(str::to_owned);
            let error = Plan::infer(&table, &options).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(&|_| "1".to_owned(), None, "both answers are needed");
        check(&|i| ["left", "stayed"][i % 2].to_owned(), None, "name the one that means yes");
        check(&|i| (i % 3).to_string(), None, "has 3 values");
        check(&|i| (i % 2).to_string(), Some("yes"), "no row of column");
        check(&|_| String::new(), None, "all its cells are blank");
        let table = table(&[("churn", (0..10).map(|i| (i % 2).to_string()).collect())]);
        assert!(
            Plan::infer(&table, &PlanOptions::for_target("left")).unwrap_err().to_string().contains("churn")
        );
    }
}

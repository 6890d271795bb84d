//! Tables as found: tiny, wide, constant, collinear, separated, blank, with categories. Each handled and said.

use crate::data::{agency, csv, five};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vigie_churn::cells::DateFormat;
use vigie_churn::{ChurnError, FitOptions, Lang, Model, Penalty, Plan, PlanOptions, Role, Table, train};

fn table(names: &[&str], rows: usize, cell: impl Fn(usize, &str) -> String) -> Table {
    let mut table = Table::new(names.iter().copied()).unwrap();
    for row in 0..rows {
        let cells: Vec<String> = names.iter().map(|name| cell(row, name)).collect();
        let cells: Vec<Option<&str>> = cells.iter().map(|cell| Some(cell.as_str())).collect();
        table.push_row(&cells).unwrap();
    }
    table
}

fn fit(table: &Table, options: &FitOptions) -> Result<Model, ChurnError> {
    train(table, &Plan::infer(table, &PlanOptions::for_target("churn"))?, options)
}

fn noisy(row: usize) -> f64 {
    (row * 7919 % 1009) as f64 / 100.9
}

#[test]
fn twenty_rows_give_a_cautious_model() {
    for leavers in [2, 3, 10] {
        let table = table(&["usage", "sites", "churn"], 20, |row, name| match name {
            "usage" => format!("{:.2}", noisy(row)),
            "sites" => (row * 7 % 5).to_string(),
            _ => u8::from(row < leavers).to_string(),
        });
        let model = fit(&table, &FitOptions::default()).unwrap();
        let metrics = model.card().metrics.as_ref().unwrap();
        assert_eq!(metrics.folds, leavers.min(5));
        assert!(metrics.auc.high - metrics.auc.low > 0.1, "little data, wide interval: {:?}", metrics.auc);
        let row = model.row_of(&[Some(5.0), Some(2.0)]);
        let p = model.score(&row).probability;
        assert!(p > 0.005 && p < 0.9, "no certainty from twenty rows: {p}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_reason() {
    let check = |rows: usize, cell: &dyn Fn(usize, &str) -> String, options: FitOptions, expect: &str| {
        let error = fit(&table(&["usage", "other", "churn"], rows, cell), &options).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    let churn = |row: usize| u8::from(noisy(row) + noisy(row * 3 + 1) > 11.0).to_string();
    let plain = |row: usize, name: &str| match name {
        "usage" => format!("{:.3}", noisy(row)),
        "other" => format!("{:.3}", 2.0 * noisy(row) + 1.0),
        _ => churn(row),
    };
    check(200, &plain, FitOptions::unpenalised(), "cannot be told apart");
    check(
        200,
        &|r, n| if n == "churn" { "1".into() } else { plain(r, n) },
        FitOptions::default(),
        "both answers",
    );
    let constant = |r: usize, n: &str| if n == "churn" { churn(r) } else { "7".to_owned() };
    check(200, &constant, FitOptions::default(), "no column is left to learn from");
    let lone = |r: usize, n: &str| if n == "churn" { u8::from(r == 3).to_string() } else { plain(r, n) };
    check(50, &lone, FitOptions::default(), "at least 2 are needed");
    let separated = |r: usize, n: &str| match n {
        "churn" => u8::from(r >= 12).to_string(),
        "other" => (r * 7 % 5).to_string(),
        _ => format!("{}.5", r * r),
    };
    check(24, &separated, FitOptions::unpenalised(), "separate the two answers");
    check(50, &plain, FitOptions { threshold: 1.0, ..FitOptions::default() }, "threshold");
    check(50, &plain, FitOptions { folds: 1, ..FitOptions::default() }, "folds");
    check(50, &plain, FitOptions { penalty: Penalty::Fixed(-1.0), ..FitOptions::default() }, "penalty");
    check(
        50,
        &plain,
        FitOptions { columns: Some(vec!["age".into()]), ..FitOptions::default() },
        "no column \"age\"",
    );
    check(
        50,
        &plain,
        FitOptions { columns: Some(vec!["churn".into()]), ..FitOptions::default() },
        "its role is target",
    );
}

#[test]
fn collinear_and_separated_columns_are_no_trouble_with_a_penalty() {
    let table = table(&["a", "b", "churn"], 300, |row, name| match name {
        "a" => format!("{:.3}", noisy(row)),
        "b" => format!("{:.3}", 2.0 * noisy(row)),
        _ => u8::from(noisy(row) + 0.8 * noisy(row * 5 + 2) > 9.0).to_string(),
    });
    let model = fit(&table, &FitOptions { repeats: 1, ..FitOptions::default() }).unwrap();
    let [a, b] = model.card().coefficients.as_slice() else { panic!("two straight lines") };
    assert!((a.per_sd - b.per_sd).abs() < 1e-3, "equal columns share the weight: {a:?} {b:?}");
}

#[test]
fn two_thousand_columns_are_screened_and_said() {
    let names: Vec<String> = (0..1_999).map(|i| format!("x{i}")).chain(["churn".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut table = Table::new(names).unwrap();
    for _ in 0..300 {
        let values: Vec<f64> = (0..1_999).map(|_| rng.random_range(-1.0..1.0)).collect();
        let churn = values[10] + values[20] + rng.random_range(-0.5..0.5) > 0.3;
        let mut cells: Vec<String> = values.iter().map(|v| format!("{v:.3}")).collect();
        cells.push(u8::from(churn).to_string());
        table.push_row(&cells.iter().map(|c| Some(c.as_str())).collect::<Vec<_>>()).unwrap();
    }
    let model = fit(&table, &FitOptions { repeats: 1, replicates: 50, ..FitOptions::default() }).unwrap();
    assert!(model.card().notes[0].text(Lang::En).contains("too many for 300 rows"));
    let metrics = model.card().metrics.as_ref().unwrap();
    assert!(metrics.auc.estimate > 0.75, "the two that matter are found: {:?}", metrics.auc);
    let top = model.explain(&model.row_of(&vec![Some(1.0); 1_999])).reasons;
    assert!(top.iter().take(2).all(|reason| ["x10", "x20"].contains(&reason.name.as_str())));
    assert!(fit(&table, &FitOptions::unpenalised()).unwrap_err().to_string().contains("no penalty"));
}

#[test]
fn blanks_categories_and_unseen_words_are_read_and_said() {
    let table = table(&["plan", "usage", "churn"], 400, |row, name| match name {
        "plan" => ["basic", "gold", "pro"][row * 7 % 11 % 3].to_owned(),
        "usage" => {
            if row % 4 == 0 {
                String::new()
            } else {
                format!("{:.2}", noisy(row))
            }
        }
        // Blank usage goes with leaving: the blank itself is a sign.
        _ => u8::from(
            noisy(row * 3 + 1)
                + if row % 4 == 0 { 4.0 } else { 0.0 }
                + if row * 7 % 11 % 3 == 2 { 2.0 } else { 0.0 }
                > 8.5,
        )
        .to_string(),
    });
    let model = fit(&table, &FitOptions { repeats: 1, ..FitOptions::default() }).unwrap();
    let score = |plan: &str, usage: Option<&str>| {
        let row = model.row(|name| if name == "plan" { Some(plan) } else { usage }).unwrap();
        (model.score(&row).probability, model.notes(&row), model.explain(&row))
    };
    let (known, notes, _) = score("basic", Some("5"));
    assert!(notes.is_empty(), "{notes:?}");
    let (blank, notes, explanation) = score("basic", None);
    assert!(blank > known + 0.1, "{blank} {known}");
    assert!(notes[0].text(Lang::Fr).contains("inconnu"));
    assert!(explanation.reasons[0].text(Lang::En).starts_with("usage is unknown"));
    let (pro, ..) = score("pro", Some("5"));
    assert!(pro > known);
    let (_, notes, explanation) = score("platinum", Some("50"));
    assert_eq!(notes.len(), 2, "unseen, and out of range: {notes:?}");
    assert!(explanation.reasons.iter().any(|r| r.text(Lang::En).contains("another value")));
    let error = model.row(|name| (name == "usage").then_some("lots")).unwrap_err().to_string();
    assert!(error.contains("\"lots\" is not a number"), "{error}");
}

#[test]
fn a_model_is_judged_on_another_table_and_asked_what_if() {
    let (table, plan) = agency();
    let model =
        train(&table, &plan, &FitOptions { columns: five(), repeats: 0, ..FitOptions::default() }).unwrap();
    assert!(model.card().metrics.is_none(), "not judged unless asked for");
    let metrics = model.judge(&table, 100, 1).unwrap();
    assert!(metrics.auc.estimate > 0.9 && metrics.folds == 0);
    let new = csv("new_customers.csv");
    assert!(model.judge(&new, 100, 1).unwrap_err().to_string().contains("no column \"Churn\""));
    let row = model.row(|name| new.column(name).unwrap().cell(1)).unwrap();
    let change = model.what_if(&row, &[("Num_Sites", Some("8"))]).unwrap();
    assert!(change.to.probability < 0.2 && change.from.probability > 0.9);
    assert_eq!(change.reasons.len(), 1);
    assert_eq!(
        change.reasons[0].text(Lang::Fr),
        "Num_Sites : 15 avant, 8 maintenant : diminue fortement le risque"
    );
    assert!(model.what_if(&row, &[("Sites", None)]).is_err());
    let smallest =
        &model.changes_below(&row, 0.5, |name| name == "Num_Sites" || name == "Account_Manager")[0];
    assert_eq!(smallest.name, "Num_Sites");
    assert!(smallest.to_value.fract() == 0.0 && smallest.to_value < 15.0 && smallest.probability <= 0.5);
    assert!(smallest.text(Lang::En).contains("instead of 15"));
    let one_more =
        model.what_if(&row, &[("Num_Sites", Some(&(smallest.to_value + 1.0).to_string()))]).unwrap();
    assert!(one_more.to.probability > 0.5, "the smallest, not just any");
    let json: serde_json::Value = serde_json::from_str(&model.card().json()).unwrap();
    assert_eq!(json["rows"], 900);
}

/// A table of one column beside `usage`, so that training has something to learn from.
fn beside(cell: &dyn Fn(usize) -> String, rows: usize) -> Table {
    table(&["it", "usage", "churn"], rows, |row, name| match name {
        "it" => cell(row),
        "usage" => format!("{:.2}", noisy(row)),
        _ => u8::from(noisy(row) + 0.7 * noisy(row * 3 + 1) > 8.5).to_string(),
    })
}

fn quick() -> FitOptions {
    FitOptions { repeats: 1, replicates: 20, ..FitOptions::default() }
}

#[test]
fn constant_columns_ids_and_free_text_are_left_out_and_said() {
    let check = |cell: &dyn Fn(usize) -> String, role: Role| {
        let table = beside(cell, 120);
        let plan = Plan::infer(&table, &PlanOptions::for_target("churn")).unwrap();
        let column = plan.column("it").unwrap();
        assert_eq!(column.role, role, "{:?}", column.reason);
        assert!(!column.reason.fr.is_empty() && !column.reason.en.is_empty());
        assert_eq!(plan.features(), ["usage"]);
        let model = train(&table, &plan, &quick()).unwrap();
        assert!(model.card().text(Lang::En).contains(&column.reason.en));
    };
    check(&|_| "FR".to_owned(), Role::Constant);
    check(&|_| String::new(), Role::Constant);
    check(&|row| format!("k-{row:05}"), Role::Id);
    check(&|row| (row + 1).to_string(), Role::Id);
    check(&|row| format!("called about invoice {row}, not happy"), Role::FreeText);
}

#[test]
fn dates_in_several_formats_become_ages_and_mean_the_same() {
    let day = |row: usize| (1 + row * 7 % 28, 1 + row * 5 % 12, 2015 + row * 3 % 8);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "June", "July", "Aug", "Sept", "Oct", "Nov", "Dec"];
    let formats: [&dyn Fn((usize, usize, usize)) -> String; 6] = [
        &|(d, m, y)| format!("{y}-{m:02}-{d:02}"),
        &|(d, m, y)| format!("{y}{m:02}{d:02}"),
        &|(d, m, y)| format!("{d:02}/{m:02}/{y}"),
        &|(d, m, y)| format!("{m}/{d}/{y}"),
        &|(d, m, y)| format!("{d:02}.{m:02}.{y} 00:00"),
        &|(d, m, y)| format!("{d} {} {y}", months[m - 1]),
    ];
    let mut expected: Option<Vec<f64>> = None;
    for format in formats {
        let table = table(&["since", "churn"], 300, |row, name| match name {
            "since" => format(day(row)),
            _ => u8::from(noisy(row) + if day(row).2 < 2019 { 3.0 } else { 0.0 } > 6.0).to_string(),
        });
        let options = PlanOptions { as_of: Some("2024-01-01".into()), ..PlanOptions::for_target("churn") };
        let plan = Plan::infer(&table, &options).unwrap();
        assert_eq!(plan.column("since").unwrap().role, Role::Date, "{}", format(day(1)));
        let model = train(&table, &plan, &quick()).unwrap();
        let scores: Vec<f64> = (0..5)
            .map(|row| {
                model
                    .score(&model.row(|_| Some(table.column("since").unwrap().cell(row).unwrap())).unwrap())
                    .probability
            })
            .collect();
        match &expected {
            None => expected = Some(scores),
            Some(expected) => assert_eq!(&scores, expected, "{}", format(day(1))),
        }
        let back = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(back, model);
        let error = model.row(|_| Some("soon")).unwrap_err().to_string();
        assert!(error.contains("is not a date such as"), "{error}");
    }
    // Each could be either: said, and a person may decide.
    let either = table(&["since", "churn"], 60, |row, name| match name {
        "since" => format!("{:02}/{:02}/2020", 1 + row % 12, 1 + row * 5 % 12),
        _ => (row % 2).to_string(),
    });
    let mut options = PlanOptions { as_of: Some("2024-01-01".into()), ..PlanOptions::for_target("churn") };
    let plan = Plan::infer(&either, &options).unwrap();
    assert!(
        plan.warnings.iter().any(|w| w.words.en.contains("day first or month first")),
        "{:?}",
        plan.warnings
    );
    options.dates.insert("since".into(), DateFormat::MonthFirst);
    let plan = Plan::infer(&either, &options).unwrap();
    assert_eq!(plan.column("since").unwrap().dates, DateFormat::MonthFirst);
    assert!(plan.warnings.iter().all(|w| w.column.is_none()), "{:?}", plan.warnings);
}

#[test]
fn duplicated_rows_are_counted_and_stay_in_one_fold() {
    let once = beside(&|row| (row % 7).to_string(), 100);
    let twice = beside(&|row| (row % 100 % 7).to_string(), 100);
    let mut doubled = Table::new(twice.names()).unwrap();
    for row in (0..100).chain(0..100) {
        let cells: Vec<Option<&str>> = twice.columns().iter().map(|column| column.cell(row)).collect();
        doubled.push_row(&cells).unwrap();
    }
    let plan = Plan::infer(&doubled, &PlanOptions::for_target("churn")).unwrap();
    assert!(plan.warnings.iter().any(|w| w.words.en.contains("100 rows repeat")), "{:?}", plan.warnings);
    let auc = |table: &Table| fit(table, &quick()).unwrap().card().metrics.as_ref().unwrap().auc.estimate;
    // Were copies judged by what learnt from them, the doubled table would look far better.
    assert!((auc(&once) - auc(&doubled)).abs() < 0.1);
}

#[test]
fn leaking_columns_are_left_out_and_said() {
    let answer = |row: usize| noisy(row) + 0.7 * noisy(row * 3 + 1) > 8.5;
    for leak in [
        &|row: usize| if answer(row) { "2024-05-01".to_owned() } else { String::new() },
        &|row: usize| if answer(row) { "closed".to_owned() } else { ["open", "new"][row % 2].to_owned() },
        &|row: usize| if answer(row) { "0".to_owned() } else { (1 + row % 9).to_string() },
    ] as [&dyn Fn(usize) -> String; 3]
    {
        let table = beside(leak, 300);
        let options = PlanOptions { as_of: Some("2024-06-01".into()), ..PlanOptions::for_target("churn") };
        let plan = Plan::infer(&table, &options).unwrap();
        assert_eq!(plan.features(), ["usage"], "{:?}", plan.column("it"));
    }
}

#[test]
fn one_class_only_is_refused_with_what_is_there() {
    let one =
        table(
            &["usage", "churn"],
            50,
            |row, name| if name == "churn" { "no".into() } else { noisy(row).to_string() },
        );
    let error = Plan::infer(&one, &PlanOptions::for_target("churn")).unwrap_err().to_string();
    assert!(error.contains("\"no\" in each of the 50 rows"), "{error}");
}

#[test]
fn a_count_of_which_only_zero_and_one_were_seen_may_be_two() {
    let table = beside(&|row| (row % 2).to_string(), 200);
    let model = fit(&table, &quick()).unwrap();
    let score = |it: &'static str| model.score(&model.row(|name| (name == "it").then_some(it)).unwrap());
    assert_eq!(score("2"), score("1"));
    assert_eq!(score("2.0"), score("1"));
}

#[test]
fn a_million_rows_are_learnt_from_within_a_budget() {
    let mut big = Table::new(["usage", "plan", "churn"]).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut usage = String::new();
    for _ in 0..1_000_000 {
        let value = rng.random_range(0..1_000u32);
        let plan = rng.random_range(0..3usize);
        let churn = rng.random_range(0..1_400) < value + 150 * plan as u32;
        usage.clear();
        usage.push_str(&value.to_string());
        big.push_row(&[
            Some(usage.as_str()),
            Some(["a", "b", "c"][plan]),
            Some(if churn { "1" } else { "0" }),
        ])
        .unwrap();
    }
    let options = FitOptions { budget_seconds: Some(2.0), ..quick() };
    let model = fit(&big, &options).unwrap();
    let card = model.card();
    assert_eq!(card.rows, 1_000_000);
    assert!(card.notes.iter().any(|note| note.en.contains("rows drawn at random")), "{:?}", card.notes);
    let metrics = card.metrics.as_ref().unwrap();
    assert!(metrics.rows < 300_000 && metrics.auc.estimate > 0.7, "{metrics:?}");
    let low = model.score(&model.row(|n| Some(if n == "plan" { "a" } else { "50" })).unwrap()).probability;
    let high = model.score(&model.row(|n| Some(if n == "plan" { "c" } else { "950" })).unwrap()).probability;
    assert!(low < 0.12 && high > 0.8, "{low} {high}");
}

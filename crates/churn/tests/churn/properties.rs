//! What must hold for any table, customer or file.

use crate::data::{agency, five};
use proptest::prelude::*;
use std::sync::LazyLock;
use vigie_churn::calibration::Platt;
use vigie_churn::{FitOptions, Lang, Model, ModelFileError, Plan, PlanOptions, Table, Verdict, train};
use xxhash_rust::xxh3::Xxh3;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let (table, plan) = agency();
    train(&table, &plan, &FitOptions { columns: five(), repeats: 0, ..FitOptions::default() }).unwrap()
});

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![Just(None), (-1e6f64..1e6).prop_map(Some), (0.0f64..100.0).prop_map(Some)]
}

proptest! {
    #[test]
    fn probabilities_are_probabilities_and_reasons_sum_to_them(values in prop::collection::vec(value(), 5)) {
        let row = MODEL.row_of(&values);
        let score = MODEL.score(&row);
        prop_assert!((0.0..=1.0).contains(&score.probability));
        prop_assert_eq!(score.verdict == Verdict::Leaves, score.probability >= MODEL.threshold());
        let explanation = MODEL.explain(&row);
        let sum: f64 = explanation.base_log_odds + explanation.reasons.iter().map(|r| r.contribution).sum::<f64>();
        prop_assert!((sum - score.log_odds).abs() <= 1e-9 * (1.0 + score.log_odds.abs()));
    }

    #[test]
    fn a_change_is_explained_to_the_last_digit(
        before in prop::collection::vec(value(), 5),
        after in prop::collection::vec(value(), 5),
    ) {
        let (before, after) = (MODEL.explain(&MODEL.row_of(&before)), MODEL.explain(&MODEL.row_of(&after)));
        let change = after.changed_since(&before);
        let sum: f64 = change.reasons.iter().map(|r| r.contribution).sum();
        let difference = after.score.log_odds - before.score.log_odds;
        prop_assert!((sum - difference).abs() <= 1e-9 * (1.0 + after.score.log_odds.abs() + before.score.log_odds.abs()));
        for reason in &change.reasons {
            prop_assert!(!reason.text(Lang::Fr).is_empty() && !reason.text(Lang::En).is_empty());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        noise in prop::collection::vec(any::<u8>(), 0..120),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let _ = Model::from_bytes(&noise);
        let _ = Model::from_bytes(&file_around_bytes(&noise));
        // A payload that is nearly right, behind a checksum that is: the model itself must be looked at.
        let mut payload = MODEL.to_bytes().unwrap().split_off(40);
        for (place, mask) in flips {
            let place = place.index(payload.len());
            payload[place] ^= mask;
        }
        if let Ok(model) = Model::from_bytes(&file_around_bytes(&payload)) {
            prop_assert!(model.to_bytes().is_ok());
        }
    }

    #[test]
    fn an_altered_file_is_refused(position in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = MODEL.to_bytes().unwrap();
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        prop_assert!(Model::from_bytes(&bytes).is_err());
    }

    #[test]
    fn a_cut_or_random_file_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), keep in any::<prop::sample::Index>()) {
        prop_assert!(Model::from_bytes(&bytes).is_err());
        let whole = MODEL.to_bytes().unwrap();
        let cut = Model::from_bytes(&whole[..keep.index(whole.len())]);
        prop_assert!(matches!(cut, Err(ModelFileError::Truncated { .. } | ModelFileError::Foreign)), "{cut:?}");
    }

    #[test]
    fn a_single_change_that_is_offered_does_what_it_says(values in prop::collection::vec((0.0f64..100.0).prop_map(Some), 5)) {
        let row = MODEL.row_of(&values);
        for change in MODEL.changes_below(&row, 0.3, |name| name != "Age") {
            prop_assert_ne!(change.name.as_str(), "Age");
            prop_assert!(change.probability <= 0.3);
            let mut changed = values.clone();
            changed[MODEL.feature_index(&change.name).unwrap()] = Some(change.to_value);
            prop_assert_eq!(MODEL.score(&MODEL.row_of(&changed)).probability, change.probability);
        }
    }
}

proptest! {
    #[test]
    fn calibration_keeps_the_order(
        raw in prop::collection::vec(-8.0f64..8.0, 4..60),
        answers in prop::collection::vec(any::<bool>(), 60),
    ) {
        let y: Vec<f64> = answers.iter().take(raw.len()).map(|yes| f64::from(u8::from(*yes))).collect();
        let platt = Platt::fit(&raw, &y);
        prop_assert!(platt.slope > 0.0 && platt.slope.is_finite() && platt.shift.is_finite(), "{platt:?}");
        let mut sorted = raw;
        sorted.sort_by(f64::total_cmp);
        prop_assert!(sorted.windows(2).all(|pair| platt.probability(pair[0]) <= platt.probability(pair[1])));
    }
}

/// A file with a right checksum around another payload, as another program might write it.
fn forged(change: &dyn Fn(&mut serde_json::Value)) -> Vec<u8> {
    let bytes = MODEL.to_bytes().unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&bytes[40..]).unwrap();
    change(&mut value);
    file_around(&value)
}

/// A file of the present format around any value.
pub fn file_around(value: &serde_json::Value) -> Vec<u8> {
    file_around_bytes(&serde_json::to_vec(value).unwrap())
}

/// A file of the present format, with a right checksum, around any payload.
fn file_around_bytes(payload: &[u8]) -> Vec<u8> {
    let mut file = MODEL.to_bytes().unwrap()[..16].to_vec();
    file.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let mut hasher = Xxh3::new();
    hasher.update(&file);
    hasher.update(payload);
    file.extend_from_slice(&hasher.digest128().to_le_bytes());
    file.extend_from_slice(payload);
    file
}

#[test]
fn a_well_formed_file_without_sense_is_refused_too() {
    let check = |change: &dyn Fn(&mut serde_json::Value), expect: &str| {
        let error = Model::from_bytes(&forged(change)).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    assert!(Model::from_bytes(&forged(&|_| ())).is_ok(), "the forger knows the format");
    check(&|v| v["threshold"] = 7.0.into(), "threshold is not between 0 and 1");
    check(&|v| v["platt"]["slope"] = (-1.0).into(), "slope is not above zero");
    check(&|v| v["features"] = serde_json::json!([]), "it has no features");
    check(&|v| v["learner"]["shapes"] = serde_json::json!([]), "one shape per feature");
    check(&|v| v["learner"]["base"] = serde_json::Value::Null, "no usable model");
    check(&|v| v["learner"]["learner"] = "oracle".into(), "no usable model");
    let levels = serde_json::json!({"shape": "levels", "by_code": [0.0], "missing": 0.0});
    check(&|v| v["learner"]["shapes"][0] = levels.clone(), "does not fit it");
}

#[test]
fn each_kind_of_bad_file_is_told_apart() {
    let bytes = MODEL.to_bytes().unwrap();
    let back = Model::from_bytes(&bytes).unwrap();
    assert_eq!(back, *MODEL);
    assert_eq!(back.id(), MODEL.id());
    let check = |change: &dyn Fn(&mut Vec<u8>), expect: &str| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        let error = Model::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(&|b| b[0] = b'X', "not a Vigie model file");
    check(&|b| *b = b"PK\x03\x04zip".to_vec(), "not a Vigie model file");
    check(&|b| b.clear(), "not a Vigie model file");
    check(&|b| b[8] = 99, "format 99");
    check(&|b| b.truncate(30), "cut off");
    check(&|b| b.truncate(b.len() - 1), "cut off");
    check(&|b| b.push(0), "longer than written");
    check(
        &|b| {
            let last = b.len() - 1;
            b[last - 40] ^= 1
        },
        "checksum",
    );
}

/// A table with numbers, blanks, a category and some signal; `order` permutes its rows, `names` its columns.
fn table(order: &[usize], names: &[&str], copies: usize) -> Table {
    let mut table = Table::new(names.iter().copied()).unwrap();
    for _ in 0..copies {
        for &i in order {
            let usage = (i * 37 % 101) as f64 / 7.0;
            let plan = ["basic", "gold", "pro"][i * 13 % 3];
            let tickets = if i % 9 == 0 { String::new() } else { (i * 17 % 6).to_string() };
            let churn = u8::from(
                usage + f64::from((i * 29 % 23) as u32) * 0.6 + if plan == "pro" { 3.0 } else { 0.0 } > 16.0,
            );
            let cell = |name: &str| match name {
                "usage" => format!("{usage:.3}"),
                "plan" => plan.to_owned(),
                "tickets" => tickets.clone(),
                _ => churn.to_string(),
            };
            let cells: Vec<String> = names.iter().map(|name| cell(name)).collect();
            let cells: Vec<Option<&str>> = cells.iter().map(|cell| Some(cell.as_str())).collect();
            table.push_row(&cells).unwrap();
        }
    }
    table
}

fn probabilities(table: &Table) -> Vec<f64> {
    let plan = Plan::infer(table, &PlanOptions::for_target("churn")).unwrap();
    let model =
        train(table, &plan, &FitOptions { repeats: 1, replicates: 20, ..FitOptions::default() }).unwrap();
    let probe = |usage: &str, plan: &str, tickets: Option<&str>| {
        let row = model
            .row(|name| match name {
                "usage" => Some(usage),
                "plan" => Some(plan),
                _ => tickets,
            })
            .unwrap();
        model.score(&row).probability
    };
    vec![
        probe("1.5", "basic", Some("3")),
        probe("7.2", "gold", Some("1")),
        probe("11", "pro", None),
        probe("14", "basic", Some("0")),
        probe("9", "never seen", Some("5")),
        probe("6", "pro", Some("2")),
    ]
}

#[test]
fn order_of_rows_and_columns_changes_nothing_and_a_copy_keeps_the_ranking() {
    let rows: Vec<usize> = (0..300).collect();
    let names = ["usage", "plan", "tickets", "churn"];
    let plain = probabilities(&table(&rows, &names, 1));
    let shuffled: Vec<usize> = (0..300).map(|i| i * 7 % 300).collect();
    assert_eq!(plain, probabilities(&table(&shuffled, &names, 1)), "rows in another order");
    let turned = probabilities(&table(&rows, &["churn", "tickets", "usage", "plan"], 1));
    for (a, b) in plain.iter().zip(&turned) {
        assert!((a - b).abs() < 1e-9, "columns in another order: {a} {b}");
    }
    let ranking = |p: &[f64]| {
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
        order
    };
    assert_eq!(ranking(&plain), ranking(&probabilities(&table(&rows, &names, 2))), "each row twice");
}

#[test]
fn reasons_are_said_in_peoples_words() {
    use vigie_churn::words::{Label, Words, YesNoWords};
    let row = MODEL.row_of(&[Some(40.0), Some(10_522.21), Some(0.0), Some(5.0), Some(8.0)]);
    let explanation = MODEL.explain(&row);
    let reason = |name: &str| explanation.reasons.iter().find(|reason| reason.name == name).unwrap();
    assert!(reason("Total_Purchase").text_as("Le total des achats", Lang::Fr).contains("10\u{202f}522,21"));
    assert!(reason("Total_Purchase").text(Lang::En).contains("10,522.21"));
    let label = Label {
        name: Words::new("Account manager", "Le chargé de compte"),
        yes_no: Some(YesNoWords {
            yes: Words::new("With an account manager", "Avec un chargé de compte"),
            no: Words::new("Without an account manager", "Sans chargé de compte"),
            share: Words::new("have one", "en ont un"),
        }),
    };
    let manager = reason("Account_Manager");
    assert!(
        manager.text_with(&label, Lang::Fr).starts_with("Sans chargé de compte (48,1\u{a0}% en ont un) : ")
    );
    assert!(manager.text_with(&label, Lang::En).starts_with("Without an account manager (48.1% have one): "));
    assert!(manager.text(Lang::Fr).starts_with("Account_Manager : non (oui pour 48,1\u{a0}%) : "));
}

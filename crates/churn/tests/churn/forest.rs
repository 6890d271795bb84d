//! Which model is chosen, and that trees and blends are models like any other: filed, explained, deterministic.

use crate::data::{agency, csv, five};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vigie_churn::model::Learner;
use vigie_churn::{FitOptions, Lang, Model, Plan, PlanOptions, Table, train};

/// `bent`: usage and age matter only together, and tickets' blanks mean something; else plain straight lines.
fn table(rows: usize, bent: bool) -> (Table, Plan) {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let mut table = Table::new(["usage", "age", "tickets", "offer", "churn"]).unwrap();
    for _ in 0..rows {
        let (usage, age) = (rng.random_range(0.0..10.0f64), rng.random_range(20.0..70.0f64));
        let offer = rng.random_range(0..4usize);
        let tickets = rng.random_range(0..9i32);
        let blank = rng.random_bool(0.2);
        let log_odds = if bent {
            let both = if (usage > 5.0) == (age > 45.0) { 2.0 } else { -2.0 };
            both + if blank { 1.5 } else { 0.0 } + [0.0, 0.8, -0.8, 0.3][offer]
        } else {
            0.4 * (usage - 5.0) - 0.05 * (age - 45.0) + [0.0, 0.8, -0.8, 0.3][offer]
        };
        let churn = rng.random_bool(1.0 / (1.0 + (-log_odds).exp()));
        let tickets = if blank { String::new() } else { tickets.to_string() };
        let (usage, age) = (format!("{usage:.2}"), format!("{age:.1}"));
        let cells = [
            usage.as_str(),
            &age,
            &tickets,
            ["basic", "gold", "pro", "team"][offer],
            if churn { "1" } else { "0" },
        ];
        table.push_row(&cells.map(Some)).unwrap();
    }
    let plan = Plan::infer(&table, &PlanOptions::for_target("churn")).unwrap();
    (table, plan)
}

fn options() -> FitOptions {
    FitOptions { replicates: 30, repeats: 2, ..FitOptions::default() }
}

#[test]
fn trees_are_chosen_where_they_are_needed_and_are_whole_models() {
    let (table, plan) = table(2_200, true);
    let model = train(&table, &plan, &options()).unwrap();
    let card = model.card();
    assert!(matches!(model.learner(), Learner::Trees(_) | Learner::Blend(_)), "{}", card.text(Lang::En));
    let names: Vec<&str> = card.candidates.iter().map(|c| c.name.en.as_str()).collect();
    let blend = "blend of logistic regression and boosted trees";
    let (plain, bent) = ("ridge logistic regression", "ridge logistic regression with splines");
    assert_eq!(names, [plain, bent, "boosted trees", blend]);
    assert!(card.candidates[0].log_loss > card.candidates[2].log_loss + 0.1, "{:?}", card.candidates);
    assert!(card.chosen.en.contains(" trees)"), "{}", card.chosen.en);
    assert!(card.chosen.fr.contains(" arbres)"), "{}", card.chosen.fr);
    let metrics = card.metrics.as_ref().unwrap();
    assert!(metrics.auc.estimate > 0.82, "{:?}", metrics.auc);
    assert!(metrics.calibration_error.estimate < 0.05, "{:?}", metrics.calibration_error);

    let bytes = model.to_bytes().unwrap();
    let back = Model::from_bytes(&bytes).unwrap();
    assert_eq!(back, model);
    assert_eq!(
        train(&table, &plan, &options()).unwrap().to_bytes().unwrap(),
        bytes,
        "deterministic for a seed"
    );

    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for _ in 0..200 {
        let number = |rng: &mut ChaCha8Rng, top| (!rng.random_bool(0.2)).then(|| rng.random_range(-1.0..top));
        let values = [number(&mut rng, 12.0), number(&mut rng, 80.0), number(&mut rng, 9.0), Some(2.0)];
        let row = model.row_of(&values);
        let explanation = model.explain(&row);
        assert_eq!(explanation.score, back.score(&row));
        let sum = explanation.base_log_odds + explanation.reasons.iter().map(|r| r.contribution).sum::<f64>();
        assert!((sum - explanation.score.log_odds).abs() < 1e-9, "{sum} {explanation:?}");
        for change in model.changes_below(&row, 0.4, |_| true) {
            assert!(change.probability <= 0.4);
        }
    }
    // Much usage goes with leaving in the old, not in the young.
    let stays = model
        .row(|name| if name == "usage" { Some("8") } else { Some("30").filter(|_| name == "age") })
        .unwrap();
    let leaves = model
        .row(|name| if name == "usage" { Some("8") } else { Some("60").filter(|_| name == "age") })
        .unwrap();
    assert!(model.score(&leaves).probability > model.score(&stays).probability + 0.3);
}

#[test]
fn straight_lines_stay_where_they_are_enough() {
    let (table, plan) = table(3_300, false);
    let model = train(&table, &plan, &options()).unwrap();
    assert!(matches!(model.learner(), Learner::Additive(_)), "{}", model.card().text(Lang::En));
    assert_eq!(model.card().candidates.len(), 4);
    let without = train(&table, &plan, &FitOptions { trees: false, ..options() }).unwrap();
    assert_eq!(without.card().candidates.len(), 2, "trees can be left out");

    let (table, plan) = agency();
    let model = train(&table, &plan, &FitOptions { columns: five(), ..FitOptions::default() }).unwrap();
    assert_eq!(model.card().candidates.len(), 4, "900 rows: trees are tried, and lines are enough");
    assert!(model.card().chosen.en.starts_with("ridge logistic regression:"), "{}", model.card().chosen.en);
}

#[test]
fn a_blend_is_a_model_too() {
    let (table, plan) = table(2_200, true);
    let model = train(&table, &plan, &FitOptions { repeats: 1, ..options() }).unwrap();
    // Forged from a model with trees: half trees, half a regression that knows nothing but a base.
    let mut value: serde_json::Value = serde_json::from_slice(&model.to_bytes().unwrap()[40..]).unwrap();
    let trees = match model.learner() {
        Learner::Trees(trees) => trees.clone(),
        Learner::Blend(blend) => blend.trees.clone(),
        other => panic!("{other:?}"),
    };
    let shapes: Vec<serde_json::Value> = model
        .features()
        .iter()
        .map(|feature| match feature.is_category() {
            true => serde_json::json!({"shape": "levels", "by_code": [0.1, 0.2, 0.3, 0.4, 0.0], "missing": 0.0}),
            false => serde_json::json!({"shape": "linear", "slope": 0.1, "centre": 1.0, "present": 0.0, "missing": 0.2}),
        })
        .collect();
    let forge = |value: &serde_json::Value| Model::from_bytes(&crate::properties::file_around(value));
    value["learner"] = serde_json::json!({
        "learner": "blend", "additive": {"base": -0.5, "shapes": shapes},
        "trees": serde_json::to_value(&trees).unwrap(), "share": 0.5,
    });
    let blend = forge(&value).unwrap();
    let row = blend.row_of(&[Some(7.0), Some(30.0), None, Some(1.0)]);
    let explanation = blend.explain(&row);
    let sum = explanation.base_log_odds + explanation.reasons.iter().map(|r| r.contribution).sum::<f64>();
    assert!((sum - explanation.score.log_odds).abs() < 1e-9);
    let Learner::Blend(parts) = blend.learner() else { panic!("a blend") };
    let raw = 0.5 * parts.additive.log_odds(row.values()) + 0.5 * trees.score(row.values());
    assert!((blend.calibration().log_odds(raw) - explanation.score.log_odds).abs() < 1e-12);
    let back = Model::from_bytes(&blend.to_bytes().unwrap()).unwrap();
    assert_eq!((back.learner(), back.score(&row)), (blend.learner(), blend.score(&row)));

    let check = |change: &dyn Fn(&mut serde_json::Value), expect: &str| {
        let mut value = value.clone();
        change(&mut value["learner"]);
        let error = forge(&value).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(&|v| v["share"] = 1.5.into(), "share of the trees");
    check(&|v| v["trees"]["features"] = 9.into(), "another number of features");
    check(&|v| v["trees"]["trees"][0]["v"][0] = serde_json::Value::Null, "no usable model");
    check(&|v| v["trees"]["trees"][0]["n"][0]["l"] = 0.into(), "not in order");
    check(
        &|v| v["trees"]["trees"][0]["n"][0]["t"] = serde_json::json!({"one_of": [2, 1]}),
        "impossible test",
    );
}

#[test]
fn files_of_the_first_format_are_read() {
    let bytes = include_bytes!("../fixtures/format-1.vigie");
    assert_eq!(bytes[8], 1);
    let model = Model::from_bytes(bytes).unwrap();
    assert_eq!(model.id(), "1df860a24fa728d8");
    let new = csv("new_customers.csv");
    let expected = [
        0.107_491_020_175_853_55,
        0.997_215_330_117_835_5,
        0.967_661_830_606_144_5,
        0.992_000_437_276_800_5,
        0.264_891_782_240_068,
        0.817_469_238_752_882_7,
    ];
    for (index, expected) in expected.into_iter().enumerate() {
        let row = model.row(|name| new.column(name).unwrap().cell(index)).unwrap();
        assert!((model.score(&row).probability - expected).abs() < 1e-15, "row {index}");
    }
    // Written again, it is a file of the present format, and the same model.
    let again = model.to_bytes().unwrap();
    assert_eq!(u16::from_le_bytes([again[8], again[9]]), vigie_churn::model_file::FORMAT_VERSION);
    assert_eq!(Model::from_bytes(&again).unwrap(), model);
}

#[test]
fn files_of_the_second_format_are_read() {
    let bytes = include_bytes!("../fixtures/format-2.vigie");
    assert_eq!(bytes[8], 2);
    let model = Model::from_bytes(bytes).unwrap();
    assert_eq!(model.id(), "dda3b89c51c33b69");
    let new = csv("new_customers.csv");
    let expected = [
        0.115_008_523_547_811_4,
        0.996_620_869_733_940_3,
        0.962_061_019_676_831_6,
        0.990_073_283_765_719_2,
        0.278_812_134_066_862_2,
        0.801_513_907_649_164_2,
    ];
    for (index, expected) in expected.into_iter().enumerate() {
        let row = model.row(|name| new.column(name).unwrap().cell(index)).unwrap();
        assert!((model.score(&row).probability - expected).abs() < 1e-15, "row {index}");
    }
    assert_eq!(Model::from_bytes(&model.to_bytes().unwrap()).unwrap(), model);
}

#[test]
fn small_tables_get_trees_where_lines_cannot_say_it() {
    let (table, plan) = table(1_200, true);
    let model = train(&table, &plan, &FitOptions { repeats: 1, ..options() }).unwrap();
    assert!(!matches!(model.learner(), Learner::Additive(_)), "{}", model.card().chosen.en);
}

#[test]
fn threads_change_nothing() {
    let (table, plan) = table(900, true);
    let with = |threads| {
        train(&table, &plan, &FitOptions { threads, repeats: 1, ..options() }).unwrap().to_bytes().unwrap()
    };
    let one = with(1);
    assert!(one == with(2) && one == with(5));
}

#[test]
fn progress_rises_to_the_end() {
    let (table, plan) = agency();
    let seen = std::sync::Mutex::new(Vec::new());
    let options = FitOptions { repeats: 1, trees: false, ..options() };
    vigie_churn::train_watched(&table, &plan, &options, &|share| seen.lock().unwrap().push(share)).unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(
        seen.len() >= 6 && seen.last() == Some(&1.0) && seen.iter().all(|s| (0.0..=1.0).contains(s)),
        "{seen:?}"
    );
}

#[test]
fn the_card_is_a_page_that_loads_nothing() {
    let (table, plan) = agency();
    let options = FitOptions { effect: true, trees: false, repeats: 1, ..options() };
    let model = train(&table, &plan, &options).unwrap();
    for (lang, words) in [(Lang::En, "Does the action help?"), (Lang::Fr, "L’action aide-t-elle")] {
        let page = model.card().html(lang);
        assert!(page.contains(words) && page.contains("Content-Security-Policy"), "{page}");
        assert_eq!(page.matches("<svg").count(), 3, "calibration, gains, reasons");
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        for forbidden in ["<script", " style=", "http://", "https://", "@import", "url(", " on"] {
            let attributes = page.split('<').filter_map(|part| part.split('>').next());
            assert!(
                !attributes
                    .clone()
                    .any(|tag| tag.contains(forbidden) && forbidden != " on" || tag.contains(" onload")),
                "{forbidden}"
            );
        }
        assert!(page.contains("+5.3") || page.contains("+5,3"), "managers go with more churn");
    }
    let card = model.card();
    let text = card.text(Lang::Fr);
    assert!(text.contains("PLUS souvent") && text.contains("Num_Sites"), "{text}");
    let gains = &card.metrics.as_ref().unwrap().gains;
    assert_eq!(gains.len(), 9);
    assert!(
        gains.windows(2).all(|pair| pair[0].estimate <= pair[1].estimate) && gains[4].estimate > 0.9,
        "{gains:?}"
    );
    assert_eq!(card.importance[0].name, "Num_Sites");
    assert!(
        card.importance
            .iter()
            .all(|i| i.mean_size.low <= i.mean_size.estimate && i.mean_size.estimate <= i.mean_size.high)
    );
}

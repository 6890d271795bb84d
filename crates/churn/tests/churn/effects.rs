//! Risk and effect kept apart: the agency's own data, and made-up trials whose truth is known.

use crate::data::{agency, csv, five};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use vigie_churn::effect::{EffectOptions, EffectVerdict, RankingRule, measure};
use vigie_churn::{Interval, Lang, Plan, PlanOptions, Table};

#[test]
fn managers_go_with_more_churn_and_are_not_recommended() {
    // With an as-of date, the onboarding date is adjusted for as well.
    let table = csv("customer_churn.csv");
    let options = PlanOptions {
        treatment: Some("Account_Manager".to_owned()),
        as_of: Some("2017-01-01".to_owned()),
        ..PlanOptions::for_target("Churn")
    };
    let plan = Plan::infer(&table, &options).unwrap();
    let report = measure(&table, &plan, &EffectOptions::default()).unwrap();
    println!("{}", report.text(Lang::En));
    let check = |found: &Interval, expect: [f64; 3], within: f64| {
        for (value, expected) in [found.estimate, found.low, found.high].into_iter().zip(expect) {
            assert!((value * 100.0 - expected).abs() <= within, "{found:?} {expect:?}");
        }
    };
    check(&report.difference, [5.3, 0.4, 10.2], 0.05);
    check(&report.adjusted, [4.0, 0.3, 7.7], 0.1);
    assert!((report.balance.p_value - 0.80).abs() < 0.005, "{}", report.balance.p_value);
    assert!((report.churn_treated.estimate - 0.194).abs() < 5e-4);
    assert!((report.churn_untreated.estimate - 0.141).abs() < 5e-4);
    assert_eq!(report.verdict, EffectVerdict::Harmful);
    assert_eq!(report.rule, RankingRule::TrialOnly);
    assert!(report.text(Lang::En).contains("not recommended for the riskiest"));
    assert!(report.text(Lang::Fr).contains("PLUS souvent"));
    let targeting = report.targeting.as_ref().unwrap();
    assert!(!targeting.differs(), "no difference between customers can be measured: {:?}", targeting.qini);
    // On the five columns alone the answer is the same.
    let (table, plan) = agency();
    let plain =
        measure(&table, &plan, &EffectOptions { columns: five(), ..EffectOptions::default() }).unwrap();
    assert_eq!((plain.verdict, plain.rule), (report.verdict, report.rule));
    assert_eq!(plain.difference, report.difference);
    assert!((plain.adjusted.estimate - 0.0388).abs() < 5e-4, "{:?}", plain.adjusted);
}

/// A trial with a known effect on those with `usage` below 5 and on the others, in log-odds-free terms: their
/// chances of leaving with and without the action.
fn trial(n: usize, low: (f64, f64), high: (f64, f64)) -> (Table, Plan) {
    let mut table = Table::new(["usage", "called", "churn"]).unwrap();
    for i in 0..n {
        // A fixed scramble stands in for chance.
        let unit = |salt: u64| {
            let mixed = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31) ^ salt;
            (mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11) as f64 / (1u64 << 53) as f64
        };
        let usage = 10.0 * unit(1);
        let called = unit(0x5555) < 0.5;
        let (without, with) = if usage < 5.0 { low } else { high };
        let churn = unit(0xABCD_EF01) < if called { with } else { without };
        let cells = [format!("{usage:.3}"), u8::from(called).to_string(), u8::from(churn).to_string()];
        table.push_row(&cells.each_ref().map(|cell| Some(cell.as_str()))).unwrap();
    }
    let options = PlanOptions { treatment: Some("called".to_owned()), ..PlanOptions::for_target("churn") };
    let plan = Plan::infer(&table, &options).unwrap();
    (table, plan)
}

#[test]
fn known_effects_are_found_and_absent_ones_are_not() {
    let check = |low, high, verdict, rule| {
        let (table, plan) = trial(3_000, low, high);
        let options = EffectOptions { randomised_share: Some(0.5), ..EffectOptions::default() };
        let report = measure(&table, &plan, &options).unwrap();
        assert_eq!((report.verdict, report.rule), (verdict, rule), "{report:#?}");
    };
    check((0.4, 0.4), (0.4, 0.4), EffectVerdict::NoMeasurableEffect, RankingRule::AssumedEffect);
    check((0.5, 0.2), (0.2, 0.2), EffectVerdict::Beneficial, RankingRule::IndividualEffect);
    check((0.4, 0.3), (0.4, 0.3), EffectVerdict::Beneficial, RankingRule::AverageEffect);
    check((0.2, 0.4), (0.2, 0.4), EffectVerdict::Harmful, RankingRule::TrialOnly);
    // Helps some and harms others: nothing on average, and yet worth acting on the right ones.
    check((0.5, 0.3), (0.2, 0.4), EffectVerdict::NoMeasurableEffect, RankingRule::IndividualEffect);
}

#[test]
fn larger_trials_show_effects_that_no_straight_line_has() {
    // Helps in the middle and harms at both ends: a line sees nothing, trees do.
    let mut table = Table::new(["usage", "called", "churn"]).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..4_000 {
        let usage = rng.random_range(0.0..9.0f64);
        let called = rng.random_bool(0.5);
        let middle = (3.0..6.0).contains(&usage);
        let risk = if !called {
            0.4
        } else if middle {
            0.15
        } else {
            0.5
        };
        let cells = [
            format!("{usage:.3}"),
            u8::from(called).to_string(),
            u8::from(rng.random_bool(risk)).to_string(),
        ];
        table.push_row(&cells.each_ref().map(|cell| Some(cell.as_str()))).unwrap();
    }
    let options = PlanOptions { treatment: Some("called".to_owned()), ..PlanOptions::for_target("churn") };
    let plan = Plan::infer(&table, &options).unwrap();
    let options = EffectOptions { randomised_share: Some(0.5), ..EffectOptions::default() };
    let report = measure(&table, &plan, &options).unwrap();
    assert_eq!(report.rule, RankingRule::IndividualEffect, "{report:#?}");
    let policy = report.targeting.unwrap().policy;
    // A third of the customers, a quarter of them kept: 8 in a hundred; at 30 %, 7.5 at the most.
    let third = policy.iter().find(|value| value.budget == 0.3).unwrap();
    assert!(third.by_effect.estimate > 0.055, "{third:?}");
    assert!(third.advantage.low > 0.0, "{third:?}");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let (table, _) = trial(200, (0.3, 0.3), (0.3, 0.3));
    let plan = Plan::infer(&table, &PlanOptions::for_target("churn")).unwrap();
    let error = measure(&table, &plan, &EffectOptions::default()).unwrap_err().to_string();
    assert!(error.contains("name the treatment column"), "{error}");
    let mut offers = Table::new(["offer", "churn"]).unwrap();
    for row in 0..60 {
        offers.push_row(&[["none", "call", "gift"][row % 3], ["0", "1"][row % 2]].map(Some)).unwrap();
    }
    let options = PlanOptions { treatment: Some("offer".to_owned()), ..PlanOptions::for_target("churn") };
    let error = Plan::infer(&offers, &options).unwrap_err().to_string();
    assert!(error.contains("has 3 values (call, gift, none)") && error.contains("1 and 0"), "{error}");
    let (table, plan) = trial(12, (0.3, 0.3), (0.3, 0.3));
    let error = measure(&table, &plan, &EffectOptions::default()).unwrap_err().to_string();
    assert!(error.contains("at least 5 are needed"), "{error}");
}

#[test]
fn an_action_given_to_the_wrong_names_shows_no_difference_between_customers() {
    let source = csv("customer_churn.csv");
    let names = ["Age", "Total_Purchase", "Years", "Num_Sites", "Account_Manager", "Churn"];
    let mut alarms = 0;
    for seed in 0..16 {
        let mut action: Vec<Option<&str>> = source.column("Account_Manager").unwrap().cells().collect();
        action.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut table = Table::new(names).unwrap();
        for (row, action) in action.iter().enumerate() {
            let cell = |name: &str| source.column(name).unwrap().cell(row);
            let cells = names.map(|name| if name == "Account_Manager" { *action } else { cell(name) });
            table.push_row(&cells).unwrap();
        }
        let options =
            PlanOptions { treatment: Some("Account_Manager".to_owned()), ..PlanOptions::for_target("Churn") };
        let plan = Plan::infer(&table, &options).unwrap();
        let report = measure(&table, &plan, &EffectOptions { seed, ..EffectOptions::default() }).unwrap();
        alarms += usize::from(!report.targeting.unwrap().qini.holds(0.0));
    }
    assert!(alarms <= 3, "an interval of 95% was wrong {alarms} times in 16");
}

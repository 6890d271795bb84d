//! The figures that any right implementation must reproduce on `customer_churn.csv`.

use crate::data::{FIVE, agency, csv, five};
use vigie_churn::{FitOptions, Lang, Plan, PlanOptions, Role, train};

#[test]
fn columns_of_the_agency_are_understood() {
    let table = csv("customer_churn.csv");
    let plan = Plan::infer(&table, &PlanOptions::for_target("Churn")).unwrap();
    assert_eq!(plan.features(), FIVE);
    let role = |name: &str| plan.column(name).unwrap().role;
    assert_eq!(role("Account_Manager"), Role::Boolean);
    for name in ["Names", "Location", "Company"] {
        assert_eq!(role(name), Role::FreeText, "{name}");
        assert!(!plan.column(name).unwrap().reason.text(Lang::Fr).is_empty());
    }
    assert_eq!(role("Onboard_date"), Role::LeftOut, "no as-of date, no age");
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    let dated = PlanOptions { as_of: Some("2017-01-01".to_owned()), ..PlanOptions::for_target("Churn") };
    assert_eq!(Plan::infer(&table, &dated).unwrap().column("Onboard_date").unwrap().role, Role::Date);
}

#[test]
fn unpenalised_fit_reproduces_coefficients_and_probabilities() {
    let (table, plan) = agency();
    let model = train(&table, &plan, &FitOptions { columns: five(), ..FitOptions::unpenalised() }).unwrap();
    let close =
        |found: f64, expect: f64, digits: f64| assert!((found - expect).abs() <= digits, "{found} {expect}");
    close(model.card().constant.unwrap(), -19.3426, 5e-5);
    let expected =
        [(0.059_806_9, 5e-8), (3.731_29e-5, 5e-11), (0.480_954, 5e-7), (0.565_986, 5e-7), (1.211_57, 5e-6)];
    for (coefficient, (value, digits)) in model.card().coefficients.iter().zip(expected) {
        close(coefficient.per_unit, value, digits);
    }
    let new = csv("new_customers.csv");
    let probabilities = [0.0978, 0.9980, 0.9774, 0.9939, 0.2488, 0.8442];
    assert_eq!(new.rows(), probabilities.len());
    for (index, expected) in probabilities.into_iter().enumerate() {
        let row = model.row(|name| new.column(name).unwrap().cell(index)).unwrap();
        close(model.score(&row).probability, expected, 5e-5);
    }
}

#[test]
fn cross_validated_figures_reach_the_goal() {
    let (table, plan) = agency();
    let options = FitOptions { columns: five(), ..FitOptions::default() };
    let model = train(&table, &plan, &options).unwrap();
    let metrics = model.card().metrics.as_ref().unwrap();
    println!("{}", model.card().text(Lang::En));
    assert_eq!((metrics.rows, metrics.positives, metrics.repeats, metrics.folds), (900, 150, 5, 5));
    assert!(metrics.auc.estimate >= 0.9035, "{:?}", metrics.auc);
    assert!(metrics.log_loss.estimate <= 0.2695, "{:?}", metrics.log_loss);
    assert!(metrics.brier.estimate <= 0.0800, "{:?}", metrics.brier);
    assert!((metrics.auc_between_folds - 0.033).abs() < 0.01, "{}", metrics.auc_between_folds);
    for figure in [metrics.auc, metrics.log_loss, metrics.brier, metrics.average_precision] {
        assert!(figure.low < figure.estimate && figure.estimate < figure.high);
    }
    assert_eq!(
        train(&table, &plan, &options).unwrap().to_bytes(),
        model.to_bytes(),
        "deterministic for a seed"
    );
    for lang in [Lang::En, Lang::Fr] {
        let card = model.card().text(lang);
        assert!(card.contains("AUC") && card.contains("Num_Sites"), "{card}");
    }
}

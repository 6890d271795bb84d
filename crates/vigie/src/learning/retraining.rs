//! Whether to train again, with the reasons for and against.

use vigie_server::ports::{CalibrationDrift, DriftVerdict, InputDrift, Retraining, Words};

use super::words;

/// New labelled customers, as a share of those learnt from, that are a reason of their own.
const NEW_SHARE: f64 = 0.5;

/// What calibration, inputs and the number of new outcomes say. `rows` is how many the model learnt from.
pub fn retraining(
    calibration: &CalibrationDrift,
    inputs: &[InputDrift],
    outcomes: u64,
    rows: u64,
) -> Retraining {
    let mut reasons: Vec<Words> = Vec::new();
    if matches!(calibration.verdict, DriftVerdict::Changed | DriftVerdict::Drifted) {
        reasons.push(calibration.words.clone());
    }
    reasons.extend(inputs.iter().filter(|i| i.verdict == DriftVerdict::Drifted).map(|i| i.words.clone()));
    if rows > 0 && outcomes as f64 >= NEW_SHARE * rows as f64 {
        reasons.push(words(
            format!(
                "{outcomes} outcomes are known that the model has not seen; it learnt from {rows} customers"
            ),
            format!("{outcomes} issues connues que le modèle n’a pas vues ; il a appris de {rows} clients"),
        ));
    }
    let proposed = !reasons.is_empty();
    if !proposed {
        reasons.push(words(
            "nothing speaks for training again: predictions hold as far as outcomes can tell, and customers look like those of the training",
            "rien ne plaide pour réapprendre : les prédictions tiennent autant que les issues permettent de le dire, et les clients ressemblent à ceux de l’apprentissage",
        ));
    }
    Retraining { proposed, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_named_and_none_is_said_too() {
        let with = |verdict| CalibrationDrift {
            verdict,
            words: words("calibration", "calibrage"),
            ..CalibrationDrift::default()
        };
        let input = |verdict| InputDrift {
            feature: String::from("Age"),
            stability_index: 0.3,
            p_value: 0.0,
            verdict,
            words: words("Age drifted", "Age dérive"),
        };
        let check = |calibration, inputs, outcomes, proposed, n| {
            let said = retraining(&with(calibration), &[input(inputs)], outcomes, 900);
            assert_eq!((said.proposed, said.reasons.len()), (proposed, n), "{said:?}");
        };
        check(DriftVerdict::TooFew, DriftVerdict::Stable, 10, false, 1);
        check(DriftVerdict::Drifted, DriftVerdict::Stable, 10, true, 1);
        check(DriftVerdict::Changed, DriftVerdict::Drifted, 450, true, 3);
        check(DriftVerdict::Stable, DriftVerdict::Changed, 449, false, 1);
    }
}

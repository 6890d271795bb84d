//! The challenger beside the champion: on the same customers, and on the outcomes that both predicted.

use vigie_churn::metrics::{brier, log_loss};
use vigie_churn::words::{Lang, number};
use vigie_domain::{ScoredOutcome, ShadowScore};
use vigie_server::ports::ShadowComparison;

use super::{Sequence, words};

/// Fewer outcomes than this give no verdict.
const LEAST: usize = 50;

/// What two models say about one customer whose outcome is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    champion: f64,
    challenger: f64,
    left: bool,
}

/// Outcomes that both models predicted, oldest first.
pub fn judged(outcomes: &[ScoredOutcome], champion: &str, challenger: &str) -> Vec<Judged> {
    let mut both: Vec<(i64, Judged)> = outcomes
        .iter()
        .filter(|outcome| outcome.prediction.model_version == champion)
        .filter_map(|outcome| {
            let other = outcome.challenger.as_ref().filter(|other| other.model_version == challenger)?;
            let judged = Judged {
                champion: outcome.prediction.probability,
                challenger: other.probability,
                left: outcome.churned,
            };
            Some((outcome.outcome_time, judged))
        })
        .collect();
    both.sort_by_key(|(at, _)| *at);
    both.into_iter().map(|(_, judged)| judged).collect()
}

fn loss(probability: f64, left: bool) -> f64 {
    let p = probability.clamp(1e-9, 1.0 - 1e-9);
    if left { -p.ln() } else { -(1.0 - p).ln() }
}

/// Compares; `needed` customers must have been scored by both before a promotion.
pub fn comparison(scores: &[ShadowScore], judged: &[Judged], needed: u64) -> ShadowComparison {
    let n = scores.len() as f64;
    let mean = |of: &dyn Fn(&ShadowScore) -> f64| (n > 0.0).then(|| scores.iter().map(of).sum::<f64>() / n);
    let shift = |s: &ShadowScore| s.challenger.probability - s.champion.probability;
    let y: Vec<f64> = judged.iter().map(|j| f64::from(u8::from(j.left))).collect();
    let (old, new): (Vec<f64>, Vec<f64>) = judged.iter().map(|j| (j.champion, j.challenger)).unzip();
    let known = !judged.is_empty();
    let mut gain = Sequence::default();
    for j in judged {
        gain.observe(loss(j.challenger, j.left) - loss(j.champion, j.left));
    }
    let sentence = match gain.interval(0.05).filter(|_| judged.len() >= LEAST) {
        None => words(
            format!(
                "{} outcomes are known that both predicted: too few to say which is better (at least {LEAST} are needed)",
                judged.len()
            ),
            format!(
                "{} issues connues que les deux avaient prédites : trop peu pour dire lequel est meilleur (il en faut au moins {LEAST})",
                judged.len()
            ),
        ),
        Some(gain) if gain.high < 0.0 => words(
            format!(
                "the challenger predicts better: log-loss lower by {} on {} outcomes",
                number(-gain.estimate, 3, Lang::En),
                judged.len()
            ),
            format!(
                "le challenger prédit mieux : perte logarithmique plus basse de {} sur {} issues",
                number(-gain.estimate, 3, Lang::Fr),
                judged.len()
            ),
        ),
        Some(gain) if gain.low > 0.0 => words(
            format!(
                "the challenger predicts worse: log-loss higher by {} on {} outcomes",
                number(gain.estimate, 3, Lang::En),
                judged.len()
            ),
            format!(
                "le challenger prédit moins bien : perte logarithmique plus haute de {} sur {} issues",
                number(gain.estimate, 3, Lang::Fr),
                judged.len()
            ),
        ),
        Some(_) => words(
            format!("no difference can be told between the two on {} outcomes", judged.len()),
            format!("aucune différence mesurable entre les deux sur {} issues", judged.len()),
        ),
    };
    ShadowComparison {
        customers: scores.len() as u64,
        needed,
        ready: scores.len() as u64 >= needed,
        agreement: mean(&|s| f64::from(u8::from(s.champion_leaves == s.challenger_leaves))),
        mean_shift: mean(&shift),
        mean_distance: mean(&|s| shift(s).abs()),
        outcomes: judged.len() as u64,
        champion_log_loss: known.then(|| log_loss(&y, &old)),
        challenger_log_loss: known.then(|| log_loss(&y, &new)),
        champion_brier: known.then(|| brier(&y, &old)),
        challenger_brier: known.then(|| brier(&y, &new)),
        words: sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_domain::{CustomerId, Origin, Prediction};

    fn score(champion: f64, challenger: f64) -> ShadowScore {
        let prediction = |probability| Prediction { model_version: String::from("m"), probability };
        ShadowScore {
            customer_id: CustomerId(String::from("c")),
            event_time: 0,
            origin: Origin { topic: String::from("t"), partition: 0, offset: 0 },
            features_hash: String::new(),
            champion: prediction(champion),
            champion_leaves: champion >= 0.5,
            challenger: prediction(challenger),
            challenger_leaves: challenger >= 0.5,
        }
    }

    #[test]
    fn agreement_shift_and_distance() {
        let compared = comparison(&[score(0.2, 0.4), score(0.6, 0.4)], &[], 2);
        assert_eq!((compared.agreement, compared.ready), (Some(0.5), true));
        assert!(
            compared.mean_shift.unwrap().abs() < 1e-12
                && (compared.mean_distance.unwrap() - 0.2).abs() < 1e-12
        );
        let none = comparison(&[], &[], 2);
        assert_eq!((none.agreement, none.ready, none.champion_brier), (None, false, None));
    }

    #[test]
    fn outcomes_decide_only_when_there_are_enough() {
        let judged = |n: usize, challenger: f64| -> Vec<Judged> {
            (0..n)
                .map(|i| Judged {
                    champion: 0.5,
                    challenger: if i % 2 == 0 { 1.0 - challenger } else { challenger },
                    left: i % 2 == 0,
                })
                .collect()
        };
        let said = |n, challenger| comparison(&[], &judged(n, challenger), 1).words.en;
        assert!(said(20, 0.1).contains("too few"));
        assert!(said(200, 0.1).contains("better"));
        assert!(said(200, 0.9).contains("worse"));
        assert!(said(200, 0.5).contains("no difference"));
    }
}

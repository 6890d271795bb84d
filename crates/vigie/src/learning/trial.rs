//! Does a manager help? Measured on the hold-out, as outcomes come in.
//!
//! Two comparisons. By *intention*: all who were drawn to be proposed against all who were held out; chance alone decided who is
//! where, so this one is sound whatever people did afterwards, and small when few proposals are approved. By *action*: only those who
//! were approved; larger, and sound only as far as approving did not follow what neither model nor data know.

use vigie_churn::Interval;
use vigie_churn::holdout::HoldOut;
use vigie_churn::trial::Trial;
use vigie_churn::words::{Lang, signed};
use vigie_domain::{Assignment, AssignmentState};
use vigie_server::ports::{EffectVerdict, TrialArm};

use super::{points, words};
use crate::planner::{KnownOutcomes, after_the_draw};

/// Both comparisons.
pub fn trial(standing: &[Assignment], known: &KnownOutcomes) -> Vec<TrialArm> {
    // The share may have been changed: those drawn under the present one are compared.
    let newest = standing.iter().filter_map(|a| a.drawn.as_ref()).max_by_key(|drawn| drawn.event_time);
    let share = newest.map_or(0.2, |drawn| drawn.holdout_share);
    let drawn: Vec<&Assignment> = standing
        .iter()
        .filter(|a| a.drawn.as_ref().is_some_and(|drawn| (drawn.holdout_share - share).abs() < 1e-9))
        .collect();
    let held = |a: &Assignment| a.state == AssignmentState::HeldOut;
    let intended: Vec<&Assignment> = drawn.clone();
    let acted: Vec<&Assignment> =
        drawn.into_iter().filter(|a| held(a) || a.state == AssignmentState::Approved).collect();
    let known_of = |group: &[&Assignment], of_held: bool| {
        group.iter().filter(|a| held(a) == of_held && after_the_draw(a, known).is_some()).count() as f64
    };
    // Not everybody is approved: the share of those compared is what it turned out to be.
    let (n_acted, n_held) = (known_of(&acted, false), known_of(&acted, true));
    let share_of_acted = if n_acted + n_held > 0.0 { n_held / (n_acted + n_held) } else { share };
    vec![
        arm(
            &intended,
            share,
            known,
            words(
                "by intention: everybody drawn to be proposed, approved or not, against the hold-out; decided by chance alone",
                "en intention : tous ceux que le tirage a proposés, approuvés ou non, face au groupe témoin ; seul le hasard a décidé",
            ),
        ),
        arm(
            &acted,
            share_of_acted,
            known,
            words(
                "by action: approved customers against the hold-out; sound as far as approving followed the list",
                "en action : les clients approuvés face au groupe témoin ; valable tant que l’approbation suivait la liste",
            ),
        ),
    ]
}

fn arm(
    group: &[&Assignment],
    share: f64,
    known: &KnownOutcomes,
    compares: vigie_server::ports::Words,
) -> TrialArm {
    let mut in_order: Vec<(i64, bool, bool, f64)> = group
        .iter()
        .filter_map(|a| {
            let left = after_the_draw(a, known)?;
            let drawn = a.drawn.as_ref()?;
            let at = known.get(&a.customer_id)?.iter().find(|(at, _)| *at > drawn.event_time)?.0;
            Some((at, a.state != AssignmentState::HeldOut, left, drawn.probability))
        })
        .collect();
    in_order.sort_by_key(|(at, ..)| *at);
    let trial = HoldOut::new(share, 0).and_then(|hold_out| Trial::new(&hold_out)).ok().map(|mut trial| {
        in_order.iter().for_each(|(_, acted, left, predicted)| trial.observe(*acted, *left, *predicted));
        trial
    });
    let acted = in_order.iter().filter(|(_, acted, ..)| *acted).count() as u64;
    let held_out = in_order.len() as u64 - acted;
    let effect: Option<Interval> = trial.as_ref().and_then(Trial::effect);
    let verdict = match trial.as_ref().map(Trial::verdict) {
        Some(vigie_churn::effect::EffectVerdict::Beneficial) => EffectVerdict::Beneficial,
        Some(vigie_churn::effect::EffectVerdict::Harmful) => EffectVerdict::Harmful,
        _ => EffectVerdict::NoMeasurableEffect,
    };
    let of = |lang| {
        effect.as_ref().map_or_else(String::new, |effect| {
            let number = |value: f64| signed(value * 100.0, 1, lang);
            format!("{} points [{}, {}]", number(effect.estimate), number(effect.low), number(effect.high))
        })
    };
    let sentence = match (&effect, verdict) {
        (None, _) => words(
            format!("{acted} outcomes with and {held_out} without are known: too few (at least 20 of each)"),
            format!(
                "{acted} issues connues avec et {held_out} sans : trop peu (il en faut au moins 20 de chaque)"
            ),
        ),
        (_, EffectVerdict::Beneficial) => words(
            format!("managers keep customers: churn changes by {}", of(Lang::En)),
            format!("les chargés de compte retiennent des clients : l’attrition change de {}", of(Lang::Fr)),
        ),
        (_, EffectVerdict::Harmful) => words(
            format!("managers cost customers: churn changes by {}", of(Lang::En)),
            format!("les chargés de compte font perdre des clients : l’attrition change de {}", of(Lang::Fr)),
        ),
        (_, EffectVerdict::NoMeasurableEffect) => words(
            format!("no measurable effect yet: churn changes by {}", of(Lang::En)),
            format!("pas d’effet mesurable pour l’instant : l’attrition change de {}", of(Lang::Fr)),
        ),
    };
    TrialArm { compares, acted, held_out, effect: effect.as_ref().map(points), verdict, words: sentence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_domain::{CustomerId, Drawn};

    /// `n` customers of risk one half; every second is held out and leaves at that rate, the others at this one.
    fn world(n: usize, rate: f64, approved: bool) -> (Vec<Assignment>, KnownOutcomes) {
        let spread = |i: usize, rate: f64| ((i + 1) as f64 * rate).floor() > (i as f64 * rate).floor();
        let assignment = |i: usize| Assignment {
            customer_id: CustomerId(format!("c{i}")),
            manager_id: None,
            state: match (i % 2, approved) {
                (0, _) => AssignmentState::HeldOut,
                (_, true) => AssignmentState::Approved,
                (_, false) => AssignmentState::Proposed,
            },
            probability: 0.5,
            value: 100.0,
            expected_value_saved: 0.0,
            effect_basis: String::new(),
            model_version: String::new(),
            updated_at: 0,
            by: String::new(),
            drawn: Some(Drawn { event_time: 100, probability: 0.5, holdout_share: 0.5 }),
            why_fr: String::new(),
            why_en: String::new(),
        };
        let outcome = |i: usize| {
            let left = spread(i / 2, if i.is_multiple_of(2) { 0.5 } else { rate });
            // An outcome before the draw says nothing.
            (CustomerId(format!("c{i}")), vec![(50, true), (200 + i as i64, left)])
        };
        ((0..n).map(assignment).collect(), (0..n).map(outcome).collect())
    }

    #[test]
    fn effects_are_found_and_chance_is_not_called_one() {
        for (n, rate, expected) in [
            (30, 0.1, EffectVerdict::NoMeasurableEffect),
            (600, 0.2, EffectVerdict::Beneficial),
            (600, 0.8, EffectVerdict::Harmful),
            (600, 0.5, EffectVerdict::NoMeasurableEffect),
        ] {
            let (standing, known) = world(n, rate, true);
            let arms = trial(&standing, &known);
            assert_eq!((arms[0].verdict, arms[1].verdict), (expected, expected), "{n} {rate} {arms:?}");
        }
        let (standing, known) = world(600, 0.2, true);
        let effect = trial(&standing, &known)[0].effect.unwrap();
        assert!(
            (effect.points + 30.0).abs() < 1.0 && effect.low < -30.0 && effect.high > -30.0,
            "{effect:?}"
        );
    }

    #[test]
    fn nobody_approved_leaves_the_comparison_by_intention() {
        let (standing, known) = world(600, 0.5, false);
        let arms = trial(&standing, &known);
        assert_eq!((arms[0].acted, arms[0].held_out), (300, 300));
        assert_eq!((arms[1].acted, arms[1].effect), (0, None));
        assert!(trial(&[], &known).iter().all(|arm| arm.effect.is_none()));
    }
}

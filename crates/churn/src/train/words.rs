//! What is said of the model that was chosen: its name and why, its constant, its coefficients.

use super::{Penalty, candidates::Kind};
use crate::{
    card::{Candidate, Coefficient},
    encode::Shape,
    features::Dataset,
    model::Learner,
    trees::Trees,
    words::{Lang, Words, number},
};

pub(super) fn chosen_words(
    kind: Kind,
    learner: &Learner,
    tried: &[Candidate],
    penalty: Penalty,
    on_left_overs: bool,
) -> Words {
    let plain = kind.words();
    if penalty == Penalty::None && matches!(learner, Learner::Additive(_)) {
        return Words::new(
            "logistic regression without a penalty, as asked for",
            "régression logistique sans pénalité, comme demandé",
        );
    }
    let size = |trees: &Trees| trees.trees().len();
    let name = match learner {
        Learner::Additive(_) => plain.clone(),
        Learner::Trees(trees) => Words::new(
            format!("{} ({} trees)", plain.en, size(trees)),
            format!("{} ({} arbres)", plain.fr, size(trees)),
        ),
        Learner::Blend(blend) if on_left_overs => Words::new(
            format!("{} on what it leaves over ({} trees)", plain.en, size(&blend.trees)),
            format!("{} sur ce qu’elle laisse ({} arbres)", plain.fr, size(&blend.trees)),
        ),
        Learner::Blend(blend) => Words::new(
            format!("{} ({:.0} % of {} trees)", plain.en, 100.0 * blend.share, size(&blend.trees)),
            format!("{} ({:.0} % de {} arbres)", plain.fr, 100.0 * blend.share, size(&blend.trees)),
        ),
    };
    if tried.len() < 2 {
        return name;
    }
    let least = |a: &&Candidate, b: &&Candidate| a.log_loss.total_cmp(&b.log_loss);
    let Some(best) = tried.iter().min_by(least) else { return name };
    if best.name == plain {
        return Words::new(
            format!("{}: the lowest log-loss ({})", name.en, number(best.log_loss, 4, Lang::En)),
            format!("{} : la plus faible perte ({})", name.fr, number(best.log_loss, 4, Lang::Fr)),
        );
    }
    Words::new(
        format!("{}: simpler than {} and within one standard error of it", name.en, best.name.en),
        format!("{} : plus simple que {}, à moins d’une erreur type", name.fr, best.name.fr),
    )
}

/// The constant where all shapes are straight lines without missing values.
pub(super) fn constant(learner: &Learner) -> Option<f64> {
    let Learner::Additive(additive) = learner else { return None };
    let mut sum = additive.base;
    for shape in &additive.shapes {
        let Shape::Linear { slope, centre, present, .. } = shape else { return None };
        sum += present - slope * centre;
    }
    Some(sum)
}

pub(super) fn coefficients(data: &Dataset, learner: &Learner) -> Vec<Coefficient> {
    // In a blend, a slope is not what a unit of the column does.
    let Learner::Additive(additive) = learner else { return Vec::new() };
    data.features
        .iter()
        .zip(&additive.shapes)
        .filter_map(|(feature, shape)| match shape {
            Shape::Linear { slope, .. } => {
                Some(Coefficient { name: feature.name.clone(), per_unit: *slope, per_sd: slope * feature.sd })
            }
            _ => None,
        })
        .collect()
}

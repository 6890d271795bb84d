//! The model file: one self-contained file of plain data.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0-7 | magic `VIGIEMDL` |
//! | 8-9 | format version, little endian; this library writes 3 and reads 1 to 3 |
//! | 10-15 | zero |
//! | 16-23 | length of the payload, little endian |
//! | 24-39 | XXH3-128 of bytes 0-23 and the payload, little endian |
//! | 40- | the payload: the model as one JSON object, UTF-8 |
//!
//! Format 2 added trees and blends to the regressions of format 1; format 3 added how dates are written. What an earlier format could
//! say is said in the same way.
//!
//! Nothing in a file is ever run. A file is read only if every byte is as written; then its numbers are checked
//! for sense, so that a file made by another program cannot crash scoring either.

use crate::{
    encode::{Additive, Shape},
    features::{Feature, FeatureKind},
    model::{Learner, Model},
    trees::{Test, Trees},
};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const MAGIC: &[u8; 8] = b"VIGIEMDL";
/// The version that this library writes, and the latest that it reads.
pub const FORMAT_VERSION: u16 = 3;
const HEADER: usize = 40;

/// Why a file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// Not a model file at all.
    #[error(
        "this is not a Vigie model file (it does not begin with VIGIEMDL): choose a file written by `vigie train`"
    )]
    Foreign,
    /// Written by a later version.
    #[error(
        "the model file has format {found}, this program reads up to {known}: update Vigie, or train the model again"
    )]
    FromTheFuture {
        /// Its format version.
        found: u16,
        /// The latest that is read.
        known: u16,
    },
    /// The end is missing.
    #[error("the model file is cut off: {found} bytes of {expected}; copy it again")]
    Truncated {
        /// Bytes there.
        found: u64,
        /// Bytes that should be there.
        expected: u64,
    },
    /// Bytes differ from what was written.
    #[error("the model file was altered or damaged ({what}): copy it again, or train the model again")]
    Altered {
        /// What does not fit.
        what: &'static str,
    },
    /// The content is not a model that can be used.
    #[error("the model file holds no usable model: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
}

impl Model {
    /// The model as the bytes of a file. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`ModelFileError::Invalid`] when the model holds a number that is not finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelFileError> {
        let payload = self.payload()?;
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        let sum = checksum(&bytes, &payload);
        bytes.extend_from_slice(&sum);
        bytes.extend_from_slice(&payload);
        Ok(bytes)
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`ModelFileError`]: foreign, from the future, truncated, altered or unusable, each with what to do.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelFileError> {
        let magic = bytes.get(..8.min(bytes.len())).unwrap_or_default();
        if !MAGIC.starts_with(magic) || magic.is_empty() {
            return Err(ModelFileError::Foreign);
        }
        let cut = |expected: u64| ModelFileError::Truncated { found: bytes.len() as u64, expected };
        let Some((header, payload)) = bytes.split_at_checked(HEADER) else { return Err(cut(HEADER as u64)) };
        let (head, sum) = header.split_at_checked(24).ok_or(cut(HEADER as u64))?;
        let field = |from: usize, to: usize| {
            let mut raw = [0u8; 8];
            for (slot, byte) in raw.iter_mut().zip(head.get(from..to).unwrap_or_default()) {
                *slot = *byte;
            }
            u64::from_le_bytes(raw)
        };
        let version = field(8, 10);
        if version > u64::from(FORMAT_VERSION) {
            return Err(ModelFileError::FromTheFuture {
                found: u16::try_from(version).unwrap_or(u16::MAX),
                known: FORMAT_VERSION,
            });
        }
        if version == 0 || field(10, 16) != 0 {
            return Err(ModelFileError::Altered { what: "its header has impossible values" });
        }
        let length = field(16, 24);
        match (payload.len() as u64).cmp(&length) {
            std::cmp::Ordering::Less => return Err(cut(length.saturating_add(HEADER as u64))),
            std::cmp::Ordering::Greater => {
                return Err(ModelFileError::Altered { what: "it is longer than written" });
            }
            std::cmp::Ordering::Equal => {}
        }
        if checksum(head, payload) != sum {
            return Err(ModelFileError::Altered { what: "its checksum does not match" });
        }
        let mut model: Self =
            serde_json::from_slice(payload).map_err(|e| ModelFileError::Invalid { reason: e.to_string() })?;
        model.check().map_err(|reason| ModelFileError::Invalid { reason })?;
        model.id = format!("{:016x}", xxh3_64(payload));
        Ok(model)
    }

    /// Checks the model and sets its id.
    pub(crate) fn seal(mut self) -> Result<Self, ModelFileError> {
        self.check().map_err(|reason| ModelFileError::Invalid { reason })?;
        self.id = format!("{:016x}", xxh3_64(&self.payload()?));
        Ok(self)
    }

    fn payload(&self) -> Result<Vec<u8>, ModelFileError> {
        serde_json::to_vec(self).map_err(|e| ModelFileError::Invalid { reason: e.to_string() })
    }

    /// Whether each number and size makes sense.
    fn check(&self) -> Result<(), String> {
        let finite = |what: &str, value: f64| {
            if value.is_finite() { Ok(()) } else { Err(format!("{what} is not a finite number")) }
        };
        if self.features.is_empty() {
            return Err("it has no features".to_owned());
        }
        finite("the calibration's slope", self.platt.slope)?;
        finite("the calibration's shift", self.platt.shift)?;
        if self.platt.slope <= 0.0 {
            return Err("the calibration's slope is not above zero".to_owned());
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err("the threshold is not between 0 and 1".to_owned());
        }
        for feature in &self.features {
            for value in
                [feature.mean, feature.sd, feature.min, feature.max, feature.typical, feature.missing_share]
            {
                finite(&feature.name, value)?;
            }
            for value in feature.profile.shares.iter().chain(&feature.profile.cuts) {
                finite(&feature.name, *value)?;
            }
            if let FeatureKind::Category { levels } = &feature.kind
                && !levels.is_sorted()
            {
                return Err(format!("the levels of {} are not sorted", feature.name));
            }
        }
        match &self.learner {
            Learner::Additive(additive) => self.check_additive(additive),
            Learner::Trees(trees) => self.check_trees(trees),
            Learner::Blend(blend) => {
                if !(0.0..=1.0).contains(&blend.share) {
                    return Err("the share of the trees is not between 0 and 1".to_owned());
                }
                self.check_additive(&blend.additive)?;
                self.check_trees(&blend.trees)
            }
        }
    }

    fn check_additive(&self, additive: &Additive) -> Result<(), String> {
        if !additive.base.is_finite() {
            return Err("the base is not a finite number".to_owned());
        }
        if additive.shapes.len() != self.features.len() {
            return Err("it has not one shape per feature".to_owned());
        }
        self.features.iter().zip(&additive.shapes).try_for_each(|(f, s)| check_shape(f, s))
    }

    /// Each tree was checked when it was read; here, whether its tests suit the features.
    fn check_trees(&self, trees: &Trees) -> Result<(), String> {
        if trees.features() != self.features.len() {
            return Err("its trees have another number of features".to_owned());
        }
        for node in trees.trees().iter().flat_map(|tree| &tree.nodes) {
            let Some(feature) = self.features.get(node.feature as usize) else { continue };
            if matches!(node.test, Test::OneOf(_)) != feature.is_category() {
                return Err(format!("a tree's test of {} does not fit it", feature.name));
            }
        }
        Ok(())
    }
}

fn check_shape(feature: &Feature, shape: &Shape) -> Result<(), String> {
    let (numbers, fits) = match shape {
        Shape::Linear { slope, centre, present, missing } => {
            (vec![*slope, *centre, *present, *missing], !feature.is_category())
        }
        Shape::Spline { knots, slope, bends, centre, missing } => {
            let rising = knots.iter().zip(knots.iter().skip(1)).all(|(a, b)| a < b);
            let sized = knots.len() >= 3 && bends.len() + 2 == knots.len();
            let mut numbers = vec![*slope, *centre, *missing];
            numbers.extend(knots.iter().chain(bends));
            (numbers, rising && sized && !feature.is_category())
        }
        Shape::Levels { by_code, missing } => {
            let sized = matches!(&feature.kind, FeatureKind::Category { levels } if by_code.len() == levels.len() + 1);
            let mut numbers = by_code.clone();
            numbers.push(*missing);
            (numbers, sized)
        }
    };
    if !fits {
        return Err(format!("the shape of {} does not fit it", feature.name));
    }
    if numbers.iter().any(|value| !value.is_finite()) {
        return Err(format!("the shape of {} holds a number that is not finite", feature.name));
    }
    Ok(())
}

fn checksum(head: &[u8], payload: &[u8]) -> [u8; 16] {
    let mut hasher = Xxh3::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.digest128().to_le_bytes()
}

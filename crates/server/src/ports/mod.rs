//! What the server asks of the rest of the program: object-safe traits with plain, serialisable answers.
//!
//! The program implements them; the server knows neither the engine nor the stores nor the model. All calls may block (they are made
//! on threads that may wait) and none panics: what cannot be answered is a [`PortError`].

mod engine;
mod learning;
mod model;
mod planner;
mod sources;
mod stores;
mod views;

pub use engine::{
    Engine, EngineStats, Graph, Restore, SinkStatus, SubTopology, TaskStatus, TopologyNode, TopologyView,
};
pub use learning::{
    CalibrationDrift, DeclaredFeature, DriftVerdict, FeatureList, InputDrift, Learning, LearningReport,
    ModelPlace, Models, ReplayAsk, ReplayTable, Retraining, ShadowComparison, TrialArm, Verified,
};
pub use model::{
    CalibrationBin, CardCandidate, CardColumn, CardImportance, Estimate, Gain, ModelCard, ModelHandle,
    ModelMetrics, SmallestChange, WhatIf,
};
pub use planner::{Comparison, EffectReport, EffectVerdict, Planner, Points, Saved};
pub use sources::{SourceStatus, Sources, UsersSource};
pub use stores::StoreViews;
pub use views::{Condition, Find, Found, Order, StoreInfo, Test, Views};

use serde::{Deserialize, Serialize};

/// A sentence in both languages of the screens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Words {
    /// French.
    pub fr: String,
    /// English.
    pub en: String,
}

/// Why a part of the program could not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is there, but the change is not possible from its present state.
    #[error("{0}")]
    Conflict(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The part does not answer now; the same call may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// An answer of a part of the program.
pub type Answer<T> = Result<T, PortError>;

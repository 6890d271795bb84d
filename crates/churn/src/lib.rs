#![doc = include_str!("../README.md")]

pub mod assign;
pub mod calibration;
pub mod card;
pub mod cells;
pub mod drift;
pub mod effect;
pub mod encode;
pub mod error;
pub mod explain;
pub mod features;
pub mod folds;
pub mod forest;
pub mod holdout;
pub mod logistic;
pub mod metrics;
pub mod model;
pub mod model_file;
pub mod plan;
pub mod ranking;
pub mod special;
pub mod survival;
pub mod table;
pub mod train;
pub mod trees;
pub mod trial;
pub mod words;

pub use card::ModelCard;
pub use error::ChurnError;
pub use explain::{Change, Counterfactual, Explanation, Reason};
pub use metrics::{Interval, Metrics};
pub use model::{FeatureRow, Model, Score, Verdict};
pub use model_file::ModelFileError;
pub use plan::{Plan, PlanOptions, Role};
pub use table::Table;
pub use train::{FitOptions, Penalty, train, train_watched};
pub use words::{Lang, Words};

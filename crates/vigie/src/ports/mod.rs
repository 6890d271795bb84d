//! What the server asks of the program, answered by the program's parts.

mod engine;
mod learning;
mod model;
mod peers;
mod planner;
mod sources;

pub use engine::EngineView;
pub use learning::LearningView;
pub use model::Model;
pub use peers::Peers;
pub use planner::Plans;
pub use sources::SourcesView;

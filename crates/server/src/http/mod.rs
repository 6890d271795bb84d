//! HTTP itself: who may ask what (`guard`), connections and their end (`serve`), the screens (`assets`), extractors (`extract`).

pub(crate) mod assets;
pub(crate) mod extract;
pub(crate) mod guard;
pub(crate) mod serve;

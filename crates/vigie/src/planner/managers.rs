//! The managers: a file gives those of the first start, people add, change and remove them; every change is on the topic `managers`.
//!
//! What the topic says of an id wins over the file: a manager who was changed or removed by a person stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use vigie_domain::{Manager, topics};
use vigie_log::Message;

use super::PlannerError;

/// Managers of the demo, labelled as examples on the screens.
const EXAMPLE_MANAGERS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/managers.json"));
/// Customers of one manager at most.
const MOST: u32 = 100_000;

/// A manager as on `managers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Change {
    #[serde(flatten)]
    manager: Manager,
    #[serde(default)]
    removed: bool,
}

/// The record of a change.
pub(super) fn message(manager: &Manager, removed: bool, at: i64) -> Result<Message, PlannerError> {
    let change = Change { manager: manager.clone(), removed };
    Ok(Message::new(topics::MANAGERS, serde_json::to_vec(&change)?).with_key(manager.id.as_str()).at(at))
}

impl Change {
    /// What people changed wins over the file.
    pub(super) fn apply(self, managers: &mut BTreeMap<String, Manager>) {
        if self.removed {
            managers.remove(&self.manager.id);
        } else {
            managers.insert(self.manager.id.clone(), self.manager);
        }
    }
}

/// The manager as entered, with blanks cut off; or what is wrong.
pub(super) fn checked(entered: Manager) -> Result<Manager, PlannerError> {
    let list = |texts: Vec<String>| -> Vec<String> {
        let texts: BTreeSet<String> = texts.iter().map(|text| text.trim().to_owned()).collect();
        texts.into_iter().filter(|text| !text.is_empty()).collect()
    };
    let manager = Manager {
        id: entered.id.trim().to_owned(),
        name: entered.name.trim().to_owned(),
        capacity: entered.capacity,
        locations: list(entered.locations.iter().map(|state| state.to_uppercase()).collect()),
        skills: list(entered.skills),
        customers: entered.customers,
    };
    let wrong = |what: String| Err(PlannerError::BadManager(what));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if manager.id.is_empty() || manager.id.len() > 64 || !manager.id.chars().all(plain) {
        return wrong(format!("id {:?}: 1 to 64 letters, digits, `.`, `_` and `-`", manager.id));
    }
    if manager.name.is_empty() || manager.name.chars().count() > 100 {
        return wrong(String::from("name: 1 to 100 characters"));
    }
    if manager.capacity > MOST {
        return wrong(format!("capacity {}: at most {MOST}", manager.capacity));
    }
    if let Some(state) =
        manager.locations.iter().find(|s| s.len() != 2 || !s.chars().all(|c| c.is_ascii_uppercase()))
    {
        return wrong(format!("location {state:?}: two letters, as in the customers' addresses (CA, NY)"));
    }
    if manager.skills.len() > 20 || manager.skills.iter().any(|skill| skill.chars().count() > 50) {
        return wrong(String::from("skills: at most 20, of at most 50 characters"));
    }
    if manager.customers.len() > MOST as usize {
        return wrong(format!("customers: at most {MOST}"));
    }
    Ok(manager)
}

/// The managers of the file, or the examples.
pub(super) fn of_file(path: Option<&Path>) -> Result<Vec<Manager>, PlannerError> {
    let (shown, text) = match path {
        None => (Path::new("managers.json (built in)"), EXAMPLE_MANAGERS.to_owned()),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| PlannerError::Managers {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
            (path, text)
        }
    };
    let bad = |reason: String| PlannerError::Managers { path: shown.to_owned(), reason };
    let managers: Vec<Manager> = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let mut ids = BTreeSet::new();
    match managers.iter().find(|manager| !ids.insert(manager.id.as_str())) {
        Some(twice) => Err(bad(format!("two managers have the id `{}`", twice.id))),
        None => managers.into_iter().map(|m| checked(m).map_err(|error| bad(error.to_string()))).collect(),
    }
}

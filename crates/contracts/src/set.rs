//! All contracts of an installation: those built in, and those of a folder that override them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::{Contract, ContractError};

/// The contracts by topic.
#[derive(Debug, Clone, Default)]
pub struct Contracts {
    by_name: BTreeMap<String, Arc<Contract>>,
}

macro_rules! built_in {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("../../../contracts/", $file)))),*]
    };
}

const BUILT_IN: [(&str, &str); 8] = built_in![
    "costumerchurn.yaml",
    "test3.yaml",
    "random_user_data.yaml",
    "users.yaml",
    "R1.yaml",
    "R2.yaml",
    "evenements.yaml",
    "outcomes.yaml",
];

impl Contracts {
    /// Those that come with the program.
    pub fn built_in() -> Result<Self, ContractError> {
        let mut contracts = Self::default();
        for (file, text) in BUILT_IN {
            contracts.insert(Contract::from_yaml(text, file)?);
        }
        Ok(contracts)
    }

    /// The built-in ones, and over them those of `folder`: each file `*.yaml` or `*.yml` replaces the contract of its name, or adds one.
    pub fn load_folder(folder: &Path) -> Result<Self, ContractError> {
        let mut contracts = Self::built_in()?;
        let io = |path: &Path, source| ContractError::Io { place: path.display().to_string(), source };
        let entries = std::fs::read_dir(folder).map_err(|error| io(folder, error))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| io(folder, error))?.path();
            if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
                files.push(path);
            }
        }
        // In the order of names, so that two files of one topic give the same result on every machine.
        files.sort();
        for path in files {
            let text = std::fs::read_to_string(&path).map_err(|error| io(&path, error))?;
            contracts.insert(Contract::from_yaml(&text, &path.display().to_string())?);
        }
        Ok(contracts)
    }

    /// Adds a contract, or replaces the one of its name.
    pub fn insert(&mut self, contract: Contract) {
        self.by_name.insert(contract.name().to_owned(), Arc::new(contract));
    }

    /// The contract of a topic; where there is none, an open one, which accepts any JSON within the default limits.
    pub fn get(&self, name: &str) -> Arc<Contract> {
        self.find(name).unwrap_or_else(|| Arc::new(Contract::open(name)))
    }

    /// The contract of a topic, if there is one.
    pub fn find(&self, name: &str) -> Option<Arc<Contract>> {
        self.by_name.get(name).map(Arc::clone)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Contract>> {
        self.by_name.values()
    }
}

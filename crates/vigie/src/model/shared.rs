//! The same models on all instances of a cluster: places and files travel on the compacted topic `models`.
//!
//! ```text
//! key places           who is where, as in models.json
//! key model:<version>  the file of each model that has a place; written before the places that name it
//! ```
//! One partition, so that their order is one. The folder of an instance is a copy: what the log says wins over it, except for a
//! champion's file that a person put there since the instance's last start; that one is put in service everywhere.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use vigie_churn::Model;
use vigie_domain::topics;
use vigie_log::Message;

use super::registry::{self, Places, Registry};
use super::{ModelError, ModelService};
use crate::config::ChurnConfig;
use crate::decisions::{self, Decisions};
use crate::features::FeatureSet;

const PLACES: &str = "places";
const MODEL: &str = "model:";

/// The records of a change of places; files of models that no longer have one are removed.
pub(super) fn messages(
    registry: &Registry,
    places: &Places,
    new: Option<&Model>,
) -> Result<Vec<Message>, ModelError> {
    let mut messages = Vec::new();
    if let Some(new) = new {
        messages.push(file(new.id(), registry.bytes(new)?));
    }
    messages.push(list(places)?);
    for gone in registry.places.versions().filter(|old| places.versions().all(|kept| kept != *old)) {
        messages.push(Message { value: None, ..file(gone, Vec::new()) });
    }
    Ok(messages)
}

fn file(version: &str, bytes: Vec<u8>) -> Message {
    Message::new(topics::MODELS, bytes).with_key(format!("{MODEL}{version}"))
}

fn list(places: &Places) -> Result<Message, ModelError> {
    let json = serde_json::to_vec(places).map_err(unreadable(PLACES))?;
    Ok(Message::new(topics::MODELS, json).with_key(PLACES))
}

fn unreadable<E: std::fmt::Display>(key: &str) -> impl Fn(E) -> ModelError {
    let key = key.to_owned();
    move |error| ModelError::Unreadable { key: key.clone(), reason: error.to_string() }
}

impl ModelService {
    /// As [`open`](Self::open), with the models of the cluster: they are fetched, and followed from now on. The first instance brings its
    /// own. Tells whether it trained.
    pub fn open_shared(
        path: &Path,
        config: &ChurnConfig,
        features: &Arc<FeatureSet>,
        now: i64,
        decisions: &Arc<Decisions>,
    ) -> Result<(Arc<Self>, bool), ModelError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let standing = decisions::standing(decisions.log(), topics::MODELS)?;
        let mut places = None;
        for (key, (_, value)) in &standing.values {
            let key = String::from_utf8_lossy(key);
            if let Some(version) = key.strip_prefix(MODEL) {
                registry::keep_file(folder, plain(version)?, value)?;
            } else if key == PLACES {
                places = Some(serde_json::from_slice::<Places>(value).map_err(unreadable(PLACES))?);
            }
        }
        let brought = brought(path, folder, places.as_ref())?;
        if let Some(places) = places.as_ref().filter(|_| !brought) {
            take(path, folder, places)?;
        }
        let (mut service, trained) = Self::open(path, config, features, now)?;
        service.decisions = Some(Arc::clone(decisions));
        let service = Arc::new(service);
        let known = Arc::new(AtomicBool::new(places.is_some()));
        let follower = Follower { service: Arc::downgrade(&service), known: Arc::clone(&known) };
        let apply = move |key: &[u8], value: Option<&[u8]>, _: i64| follower.take(key, value);
        decisions.follow(topics::MODELS, standing, Box::new(apply))?;
        if brought || !known.load(Ordering::Acquire) {
            decisions.decide(|| {
                // Another instance may have been the first meanwhile.
                if known.load(Ordering::Acquire) && !brought {
                    return Ok::<_, ModelError>((Vec::new(), ()));
                }
                let registry = service.registry()?;
                let mut messages = Vec::new();
                for version in registry.places.versions() {
                    // A former champion whose file is gone can only not come back.
                    if let Ok(model) = registry.load(version, features) {
                        messages.push(file(version, registry.bytes(&model)?));
                    }
                }
                messages.push(list(&registry.places)?);
                Ok((messages, ()))
            })?;
        }
        Ok((service, trained))
    }
}

/// A version as it may be part of a file's name.
fn plain(version: &str) -> Result<&str, ModelError> {
    let fits = !version.is_empty()
        && version.len() <= 128
        && version.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if fits { Ok(version) } else { Err(unreadable(MODEL)(format!("{version:?} is no version of a model"))) }
}

/// Whether a person put another champion's file here since this instance's last start.
fn brought(path: &Path, folder: &Path, places: Option<&Places>) -> Result<bool, ModelError> {
    let (Some(here), Some(places)) = (registry::list(folder)?, places) else { return Ok(false) };
    // A file that cannot be read was not brought: the cluster's model takes its place.
    let Some(model) = fs::read(path).ok().and_then(|bytes| Model::from_bytes(&bytes).ok()) else {
        return Ok(false);
    };
    Ok(model.id() != here.champion.version && model.id() != places.champion.version)
}

/// The folder says what the cluster says.
fn take(path: &Path, folder: &Path, places: &Places) -> Result<(), ModelError> {
    let kept = folder.join(format!("{}.vigie", plain(&places.champion.version)?));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ModelError::File { path, source }
    };
    let bytes = fs::read(&kept).map_err(failed(&kept))?;
    super::write_whole(path, &bytes).map_err(failed(path))?;
    let list = folder.join("models.json");
    let json = serde_json::to_vec_pretty(places).map_err(unreadable(PLACES))?;
    super::write_whole(&list, &json).map_err(failed(&list))
}

/// Takes over what is decided about models, here or elsewhere.
struct Follower {
    /// The service owns the decisions, which own this.
    service: Weak<ModelService>,
    known: Arc<AtomicBool>,
}

impl Follower {
    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let Some(service) = self.service.upgrade() else { return };
        let key = String::from_utf8_lossy(key);
        if let Err(error) = self.taken(&service, &key, value) {
            tracing::error!(
                %error, key = %key,
                "what was decided about models cannot be taken over; this instance goes on with the model that it has"
            );
        }
    }

    fn taken(&self, service: &ModelService, key: &str, value: Option<&[u8]>) -> Result<(), ModelError> {
        let Some(value) = value else { return Ok(()) };
        let mut registry = service.registry()?;
        if let Some(version) = key.strip_prefix(MODEL) {
            return registry.keep_file(plain(version)?, value);
        }
        if key == PLACES {
            let places: Places = serde_json::from_slice(value).map_err(unreadable(PLACES))?;
            let before = service.current().id().to_owned();
            let places = service.stand(&mut registry, places)?;
            self.known.store(true, Ordering::Release);
            if places.champion.version != before {
                tracing::info!(
                    version = places.champion.version,
                    by = places.champion.by,
                    "model in service"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use vigie_contracts::Contracts;
    use vigie_log::{Clock, Log, SimulatedLog, SystemClock};

    use super::*;
    use crate::config::Config;
    use crate::features::rebuild::Rebuild;
    use crate::model::train;
    use crate::runtime::{ensure, ensure_agreed};

    fn set(config: &Config) -> Arc<FeatureSet> {
        let records = Contracts::built_in().unwrap().get(topics::COSTUMERCHURN);
        Arc::new(FeatureSet::new(&config.features, &records))
    }

    struct Cluster {
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
    }

    impl Cluster {
        fn new() -> Self {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
            let log: Arc<dyn Log> = Arc::new(SimulatedLog::new(Arc::clone(&clock), 3));
            ensure(&*log.admin(), &Config::default()).unwrap();
            ensure_agreed(&*log.admin()).unwrap();
            Self { log, clock }
        }

        fn decisions(&self) -> Arc<Decisions> {
            Arc::new(Decisions::new(Arc::clone(&self.log), Arc::clone(&self.clock), "vigie", true))
        }

        fn open(&self, folder: &Path) -> (Arc<ModelService>, bool) {
            let config = Config::default();
            let file = folder.join("model/churn.vigie");
            ModelService::open_shared(&file, &config.churn, &set(&config), 1, &self.decisions()).unwrap()
        }
    }

    fn other() -> Model {
        let columns = vec![String::from("Years"), String::from("Num_Sites")];
        train(&ChurnConfig { columns, ..ChurnConfig::default() }).unwrap()
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_model_that_is_promoted_here_is_in_service_everywhere_and_after_a_restart() {
        let cluster = Cluster::new();
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let (a, trained) = cluster.open(folders[0].path());
        assert!(trained);
        let (b, trained) = cluster.open(folders[1].path());
        assert!(!trained, "the cluster has a model");
        let first = a.current().id().to_owned();
        assert_eq!(b.current().id(), first);

        let challenger = other();
        let bytes = challenger.to_bytes().unwrap();
        a.shadow(Path::new("new.vigie"), &bytes, "ana", 2).unwrap();
        // Told by the first, decided by the second.
        let places = b.promote("bob", 3).unwrap();
        assert_eq!((places.champion.version.as_str(), places.champion.by.as_str()), (challenger.id(), "bob"));
        assert_eq!(b.current().id(), challenger.id());
        until("the first serves it too", || a.current().id() == challenger.id());
        assert!(a.serving().challenger.is_none());
        assert_eq!(a.places().unwrap(), b.places().unwrap());

        // One that was away, and one that is new.
        drop(a);
        let (a, _) = cluster.open(folders[0].path());
        let (c, trained) = cluster.open(folders[2].path());
        assert!(!trained);
        assert_eq!((a.current().id(), c.current().id()), (challenger.id(), challenger.id()));
        // The new one knows the way back as well.
        c.rollback("eve", 4).unwrap();
        assert_eq!(c.current().id(), first);
        until("all go back", || a.current().id() == first && b.current().id() == first);
        // The file of a model without a place is not kept on the log.
        let standing = decisions::standing(&*cluster.log, topics::MODELS).unwrap();
        let keys: Vec<_> =
            standing.values.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        assert_eq!(keys, [format!("model:{first}"), String::from("places")]);
    }

    #[test]
    fn a_champion_that_a_person_put_into_the_folder_is_put_in_service_everywhere() {
        let cluster = Cluster::new();
        let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
        let (a, _) = cluster.open(folders[0].path());
        drop(cluster.open(folders[1].path()));
        let challenger = other();
        std::fs::write(folders[1].path().join("model/churn.vigie"), challenger.to_bytes().unwrap()).unwrap();
        let (b, trained) = cluster.open(folders[1].path());
        assert!(!trained);
        assert_eq!(b.current().id(), challenger.id());
        until("the other serves it too", || a.current().id() == challenger.id());
        assert_eq!(a.places().unwrap().champion.by, registry::BY_FILE);
    }

    #[test]
    fn new_declarations_count_once_and_are_refused_beside_others_at_work() {
        let cluster = Cluster::new();
        let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
        let prepare = |place: usize, config: &Config| {
            let file = folders[place].path().join("features.json");
            Rebuild::prepare_shared(&cluster.decisions(), &file, &set(config), "vigie")
        };
        let before = Config::default();
        assert!(!prepare(0, &before).unwrap().was_scored(0, 0));
        assert_eq!(prepare(1, &before).unwrap(), prepare(0, &before).unwrap());

        let mut after = Config::default();
        let removed = after.features.remove(0).name;
        let member = cluster.log.member(vigie_log::MemberConfig::new("vigie", [topics::CUSTOMER_HISTORY]));
        let mut member = member.unwrap();
        until("it is in the group", || {
            member.poll(Duration::from_millis(5)).unwrap();
            !member.assignment().is_empty()
        });
        let message = prepare(0, &after).unwrap_err().to_string();
        assert!(
            message.contains(&format!("only there: {removed}")) && message.contains("`vigie`"),
            "{message}"
        );
        let read: Vec<_> = member.assignment().into_iter().map(|partition| (partition, 0)).collect();
        member.commit(&read).unwrap();
        member.close().unwrap();

        // Nobody is at work: the first takes the positions and sets them back, the second finds it done.
        let first = prepare(0, &after).unwrap();
        assert_eq!(prepare(1, &after).unwrap(), first);
        assert_eq!(prepare(0, &after).unwrap(), first);
    }
}

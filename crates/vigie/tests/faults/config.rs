//! A wrong configuration: the program does not start, says where and what was meant, and touches nothing.

use super::{Place, data_folder, ends, text};

#[test]
fn config_mistakes_stop_the_start_with_place_and_suggestion() {
    for (content, says) in [
        ("[server]\nprot = 1\n", &[":2:1", "unknown field `prot`", "did you mean `port`?"][..]),
        ("[sorces]\nseed = 1\n", &[":1:2", "did you mean `sources`?"]),
        ("[server]\nport = \"eighty\"\n", &[":2:8", "invalid type", "string"]),
        ("[engine]\ncommit_interval_ms = -5\n", &[":2:22", "-5"]),
        ("[churn]\nthreshold = 1.5\n", &["churn.threshold = 1.5", "between 0 and 1"]),
        ("[server\nport = 1\n", &[":1:8"]),
    ] {
        let place = Place::new();
        let file = place.file("vigie.toml", content);
        for command in ["demo", "run"] {
            let ended = ends(&place, &[command, "--port", "0", "--config", text(&file)]).with(2).says(says);
            assert!(ended.err.contains("configuration"), "{ended:#?}");
            assert!(ended.out.is_empty(), "it is not ready: {ended:#?}");
        }
        assert!(!data_folder(&place).exists(), "{content:?} has touched the data folder");
    }
}

#[test]
fn config_that_cannot_be_read_stops_the_start_with_its_path() {
    let place = Place::new();
    let folder = text(place.folder.path());
    ends(&place, &["demo", "--config", folder]).with(2).says(&[folder, "cannot be read", "check the path"]);
    ends(&place, &["demo", "--config", "none.toml"]).with(2).says(&["none.toml", "cannot be read"]);
    place.file("latin.toml", b"# caf\xe9\n");
    ends(&place, &["demo", "--config", "latin.toml"]).with(2).says(&[
        "latin.toml",
        "not UTF-8",
        "save it as UTF-8",
    ]);
    place.file("binary.toml", [0_u8, 1, 2, 3]);
    ends(&place, &["demo", "--config", "binary.toml"]).with(2).says(&["binary.toml:1:"]);
    assert!(!data_folder(&place).exists());
}

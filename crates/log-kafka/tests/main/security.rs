//! Logins, certificates and permissions, on a broker that asks for all of them. The access rules in force are those of `docs/kafka.md`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vigie_log::{Consequence, Log, LogError, MemberConfig, ProducerConfig, Result, TopicSpec};
use vigie_log_kafka::{KafkaConfig, KafkaLog, MembershipMode, Sasl, ScramHash, Secret, Security, Tls};

use crate::kafka::{Cluster, secured, unique};
use crate::trouble::{at, batch, count, poll_until, producer, put, values};

fn secret(text: &str) -> Secret {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Secret::File(file.into_temp_path().keep().unwrap())
}

fn scram(user: &str) -> Sasl {
    Sasl::Scram {
        hash: ScramHash::Sha512,
        user: user.to_owned(),
        password: secret(&format!("{user}-secret\n")),
    }
}

fn open(cluster: &Cluster, listener: &str, tls: Option<Tls>, sasl: Option<Sasl>) -> Result<KafkaLog> {
    KafkaLog::open(config(cluster, listener, tls, sasl))
}

fn config(cluster: &Cluster, listener: &str, tls: Option<Tls>, sasl: Option<Sasl>) -> KafkaConfig {
    let mut config = KafkaConfig::from_url(&format!("kafka://{}", cluster.fact(listener))).unwrap();
    config.client_id = String::from("app");
    config.start_timeout = Duration::from_secs(30);
    config.security = Security { tls, sasl };
    config
}

fn pem(cluster: &Cluster, name: &str) -> PathBuf {
    PathBuf::from(cluster.fact("dir")).join("tls").join(name)
}

fn ca(cluster: &Cluster) -> Option<Tls> {
    Some(Tls::trusting(pem(cluster, "ca.pem")))
}

/// Writes, reads and commits through a group, on a topic that `app` may use.
fn works(log: &KafkaLog) {
    let (topic, group) = (unique("app-topic"), unique("app-group"));
    log.admin().create_topic(&TopicSpec::new(&topic, 1)).unwrap();
    let mut writer = producer(log, &unique("app-writer"));
    put(&mut *writer, &at(&topic, 0), &["a", "b"]);
    assert_eq!(values(log, &at(&topic, 0)), ["a", "b"]);
    let mut member = log.member(MemberConfig::new(&group, [&topic])).unwrap();
    poll_until(&mut *member, |all| count(all) == 2);
    writer.begin().unwrap();
    writer.add_offsets(&member.membership(), &[(at(&topic, 0), 2)]).unwrap();
    writer.commit().unwrap();
    assert_eq!(log.admin().describe_group(&group).unwrap().committed, [(at(&topic, 0), 2)]);
}

#[test]
fn every_way_in_leads_in() {
    let Some(cluster) = secured() else { return };
    works(&open(&cluster, "bootstrap", None, Some(scram("app"))).unwrap());
    works(&open(&cluster, "sasl_ssl", ca(&cluster), Some(scram("app"))).unwrap());
    let plain = Sasl::Plain { user: String::from("app"), password: secret("app-secret") };
    works(&open(&cluster, "sasl_ssl", ca(&cluster), Some(plain)).unwrap());
    // The client's certificate is the login: it is made out to `app`.
    let tls = Tls {
        certificate: Some(pem(&cluster, "client.crt")),
        key: Some(pem(&cluster, "client.key")),
        ..ca(&cluster).unwrap()
    };
    works(&open(&cluster, "ssl", Some(tls), None).unwrap());
    // {"alg":"none"} . {"sub":"app","iat":1,"exp":4102444800} . (no signature)
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhcHAiLCJpYXQiOjEsImV4cCI6NDEwMjQ0NDgwMH0.";
    works(
        &open(&cluster, "sasl_ssl", ca(&cluster), Some(Sasl::OauthBearer { token: secret(token) })).unwrap(),
    );
}

/// The connection over which the members of a streams group are told their tasks is not librdkafka's: it takes the same logins.
#[test]
fn streams_groups_take_the_same_logins() {
    let Some(cluster) = secured() else { return };
    let certificate = Tls {
        certificate: Some(pem(&cluster, "client.crt")),
        key: Some(pem(&cluster, "client.key")),
        ..ca(&cluster).unwrap()
    };
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhcHAiLCJpYXQiOjEsImV4cCI6NDEwMjQ0NDgwMH0.";
    for (listener, tls, sasl) in [
        ("sasl_ssl", ca(&cluster), Some(scram("app"))),
        ("sasl_ssl", ca(&cluster), Some(Sasl::OauthBearer { token: secret(token) })),
        ("ssl", Some(certificate), None),
    ] {
        let listener = format!("{listener} {:?}", sasl);
        let mut config = config(&cluster, listener.split(' ').next().unwrap(), tls, sasl);
        // Not `auto`: that would take another protocol when this one is refused.
        config.membership = MembershipMode::Streams;
        let log = KafkaLog::open(config).unwrap();
        let application = unique("app-streams");
        for topic in ["in", "counts", "digits"] {
            log.admin().create_topic(&TopicSpec::new(format!("{application}-{topic}"), 1)).unwrap();
        }
        let state = tempfile::tempdir().unwrap();
        let config =
            vigie_streams::Config::new(application.as_str(), Arc::new(log.clone())).state_dir(state.path());
        let app = vigie_streams::Streams::new(crate::chaos::topology(&application), config).start().unwrap();
        let mut records = batch(&[]);
        for _ in 0..3 {
            records.push(1_000, Some(b"k1"), Some(&1_i64.to_be_bytes()), &[]);
        }
        let mut writer = producer(&log, &unique("app-writer"));
        writer.begin().unwrap();
        writer.append(&at(&format!("{application}-in"), 0), &mut records).unwrap();
        writer.commit().unwrap();
        let counts = at(&format!("{application}-counts"), 0);
        let mut reader = log.reader(std::slice::from_ref(&counts)).unwrap();
        let (start, mut last) = (Instant::now(), 0);
        while last != 3 {
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "{listener}: {last} of 3; {:?}, {:?}, {:?}",
                app.error(),
                app.metrics(),
                log.admin().describe_group(&application)
            );
            for record in
                reader.poll(Duration::from_millis(100)).unwrap().iter().flat_map(|of| of.batch.iter())
            {
                last = i64::from_be_bytes(record.value.unwrap().try_into().unwrap());
            }
        }
        let (start, all) = (Instant::now(), 3);
        loop {
            let group = log.admin().describe_group(&application).unwrap();
            let owned: usize = group.members.iter().map(|(_, owned)| owned.len()).sum();
            let committed = group.committed.contains(&(at(&format!("{application}-in"), 0), 3));
            if committed && owned == all {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{listener}: {group:?}");
        }
        assert!(log.admin().list_groups().unwrap().contains(&application), "{listener}");
        assert!(app.close(Duration::from_secs(60)));
    }
}

#[test]
fn a_refused_login_or_certificate_is_said_at_once_and_says_so() {
    let Some(cluster) = secured() else { return };
    let check = |listener: &str, tls: Option<Tls>, sasl: Option<Sasl>, words: &[&str]| {
        let start = Instant::now();
        let error = open(&cluster, listener, tls, sasl).map(drop).unwrap_err();
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text} lacks one of {words:?}");
        assert!(!text.contains("wrong-secret"), "{text}");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    };
    let wrong = || Sasl::Scram {
        hash: ScramHash::Sha512,
        user: String::from("app"),
        password: secret("wrong-secret"),
    };
    check("bootstrap", None, Some(wrong()), &["login is refused", "password"]);
    check("sasl_ssl", ca(&cluster), Some(wrong()), &["login is refused", "password"]);
    let stranger = Some(Tls::trusting(pem(&cluster, "other-ca.pem")));
    check("sasl_ssl", stranger, Some(scram("app")), &["encrypted connection is refused", "certificate"]);
    let nowhere = Some(Tls::trusting("/nowhere/ca.pem"));
    check("sasl_ssl", nowhere, Some(scram("app")), &["/nowhere/ca.pem", "check the path"]);
    let absent = Sasl::Plain {
        user: String::from("app"),
        password: Secret::Env(String::from("VIGIE_NO_SUCH_SECRET")),
    };
    check("bootstrap", None, Some(absent), &["VIGIE_NO_SUCH_SECRET"]);
}

#[test]
fn a_missing_permission_is_named() {
    let Some(cluster) = secured() else { return };
    let admin = open(&cluster, "bootstrap", None, Some(scram("admin"))).unwrap();
    let app = open(&cluster, "bootstrap", None, Some(scram("app"))).unwrap();
    let (forbidden, allowed) = (unique("forbidden"), unique("app-allowed"));
    for topic in [&forbidden, &allowed] {
        admin.admin().create_topic(&TopicSpec::new(topic, 1)).unwrap();
    }
    let check = |outcome: Result<()>, permission: &str, resource: &str| {
        let error = outcome.unwrap_err();
        assert!(
            matches!(&error, LogError::NotAuthorised { permission: p, resource: r } if p == permission && r == resource),
            "{permission} on {resource}: {error:?}"
        );
        assert_eq!(error.consequence(), Consequence::Fatal);
    };
    let mut writer = producer(&app, &unique("app-writer"));
    writer.begin().unwrap();
    check(
        writer.append(&at(&forbidden, 0), &mut batch(&["a"])).and_then(|()| writer.commit().map(drop)),
        "Describe",
        &format!("topic {forbidden}"),
    );
    writer.abort().unwrap();
    put(&mut *writer, &at(&allowed, 0), &["a"]);
    check(app.reader(&[at(&forbidden, 0)]).map(drop), "Describe", &format!("topic {forbidden}"));
    let other = unique("other");
    check(app.admin().create_topic(&TopicSpec::new(&other, 1)), "Create", &format!("topic {other}"));
    let refused = app.producer(ProducerConfig { transactional_id: Some(String::from("other-writer")) });
    check(refused.map(drop), "Write", "transactional id other-writer");
    let mut stranger = app.member(MemberConfig::new("other-group", [&allowed])).unwrap();
    let start = Instant::now();
    let refused = loop {
        match stranger.poll(Duration::from_millis(100)) {
            Ok(_) => assert!(start.elapsed() < Duration::from_secs(30), "nobody refused it"),
            Err(error) => break error,
        }
    };
    check(Err(refused), "Read", "group other-group");
    // A topic that may be looked at, but neither written nor read.
    let seen = unique("seen");
    admin.admin().create_topic(&TopicSpec::new(&seen, 1)).unwrap();
    let rule = [
        "tool",
        "acls",
        "--add",
        "--allow-principal",
        "User:app",
        "--operation",
        "Describe",
        "--topic",
        &seen,
    ];
    cluster.run(&rule);
    let start = Instant::now();
    while app.admin().offsets(&seen).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "the rule never came into force");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut writer = producer(&app, &unique("app-writer"));
    writer.begin().unwrap();
    check(
        writer.append(&at(&seen, 0), &mut batch(&["a"])).and_then(|()| writer.commit().map(drop)),
        "Write",
        &format!("topic {seen}"),
    );
    writer.abort().unwrap();
    let mut reader = app.reader(&[at(&seen, 0)]).unwrap();
    let start = Instant::now();
    let refused = loop {
        match reader.poll(Duration::from_millis(100)) {
            Ok(_) => assert!(start.elapsed() < Duration::from_secs(30), "nobody refused it"),
            Err(error) => break error,
        }
    };
    check(Err(refused), "Read", &format!("topic {seen}"));
}

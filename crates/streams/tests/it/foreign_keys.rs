//! Foreign-key joins over several partitions: rows find the rows that they name, and answers find their way back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Log, partition_for_key};
use vigie_streams::{
    Config, Consumed, Produced, State, Store, Streams, StreamsBuilder, TableJoined, Topology,
};

use crate::running::{PATIENCE, log, until};
use crate::stream_joins::send_at;

fn topology() -> Topology {
    let mut builder = StreamsBuilder::new();
    let orders = builder.table("orders", Consumed::<String, String>::default(), Store::default());
    let customers = builder.table("customers", Consumed::<String, String>::default(), Store::default());
    orders
        .left_join_foreign_key(
            &customers,
            |_, customer| customer.clone(),
            |order, customer, name| format!("{order} of {}", name.unwrap_or(customer)),
            TableJoined::default(),
            Store::named("joined"),
        )
        .to_stream()
        .to("out", Produced::default());
    builder.build().unwrap()
}

#[test]
fn rows_of_other_partitions_are_found_and_followed_also_after_a_restart() {
    let log = log(&[("orders", 3), ("customers", 2), ("out", 1)]);
    let mut expect = BTreeMap::new();
    let customer = |n: i32, name: Option<&str>| {
        let key = format!("c{n}");
        send_at(&log, "customers", partition_for_key(key.as_bytes(), 2), &key, name, 10);
    };
    let order = |n: i32, customer: Option<&str>| {
        let key = format!("o{n}");
        send_at(&log, "orders", partition_for_key(key.as_bytes(), 3), &key, customer, 10);
    };
    let settled = |expect: &BTreeMap<String, String>, app: &Streams| {
        let joined = app.store::<String, String>("joined").unwrap();
        until(&format!("{expect:?}"), || {
            let all: BTreeMap<String, String> = joined.all().map(Result::unwrap).collect();
            all == *expect
        });
    };
    for round in 0..2 {
        let config =
            Config::new("app", Arc::clone(&log) as Arc<dyn Log>).commit_interval(Duration::from_millis(10));
        let app = Streams::new(topology(), config).start().unwrap();
        assert!(app.wait_for(State::Running, PATIENCE));
        if round == 0 {
            customer(0, Some("Ann"));
            customer(1, Some("Bob"));
            for n in 0..12 {
                order(n, Some(&format!("c{}", n % 3)));
                let name = ["Ann", "Bob", "c2"][n as usize % 3];
                expect.insert(format!("o{n}"), format!("o{n} of {name}"));
            }
        } else {
            // One customer changes, one goes, one comes; one order moves, one goes.
            customer(0, Some("Anna"));
            customer(1, None);
            customer(2, Some("Cleo"));
            order(0, Some("c2"));
            order(1, None);
            for n in 0..12 {
                let name = ["Anna", "c1", "Cleo"][n as usize % 3];
                expect.insert(format!("o{n}"), format!("o{n} of {name}"));
            }
            expect.insert("o0".into(), "o0 of Cleo".into());
            expect.remove("o1");
        }
        settled(&expect, &app);
        assert!(app.close(PATIENCE));
    }
    let topics = log.admin().list_topics(true).unwrap();
    for (topic, partitions) in [("REGISTRATION-0000000006", 2), ("RESPONSE-0000000014", 3)] {
        let name = format!("app-KTABLE-FK-JOIN-SUBSCRIPTION-{topic}-topic");
        assert!(topics.contains(&name), "{topics:?}");
        assert_eq!(log.admin().offsets(&name).unwrap().len(), partitions, "as many as the table it meets");
    }
}

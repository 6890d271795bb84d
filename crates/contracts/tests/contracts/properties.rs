//! Properties: no bytes panic, every valid record passes, what passes goes round.

use proptest::prelude::*;
use serde_json::Value;
use vigie_contracts::Contract;
use vigie_domain::{Customer, CustomerId, PageEvent, ShopEvent};

use crate::{BUILT_IN, contract};

fn customers() -> impl Strategy<Value = Customer> {
    let text = "[^ ]{1}.{0,40}";
    (
        (proptest::option::of("[a-z0-9]{1,20}"), text, 0.0..=130.0, 0.0..=1e9, 0_u8..=1),
        (0.0..=150.0, 0.0..=10_000.0, 0_i64..4_000_000_000, text, text, proptest::option::of(0_u8..=1)),
    )
        .prop_filter("blank texts are not valid", |(a, b)| {
            [&a.1, &b.3, &b.4].iter().all(|text| !text.trim().is_empty())
        })
        .prop_map(
            |(
                (id, names, age, total_purchase, account_manager),
                (years, num_sites, at, location, company, churn),
            )| {
                Customer {
                    customer_id: id.map(CustomerId),
                    names: names.into(),
                    age,
                    total_purchase,
                    account_manager,
                    years,
                    num_sites,
                    onboard_date: vigie_domain::iso8601(at * 1000),
                    location: location.into(),
                    company,
                    churn,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_check_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        for contract in BUILT_IN.iter() {
            let _ = contract.check_all::<Value>(&raw);
        }
        let _ = Contract::from_yaml(&String::from_utf8_lossy(&raw), "noise");
    }

    #[test]
    fn no_change_of_a_contract_makes_its_reader_panic(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<char>()), 1..6),
        cut in any::<proptest::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut text: Vec<char> = include_str!("../../../../contracts/evenements.yaml").chars().collect();
        for (place, character) in places {
            let place = place.index(text.len());
            text[place] = character;
        }
        if cuts {
            text.truncate(cut.index(text.len()));
        }
        if let Ok(contract) = Contract::from_yaml(&String::from_iter(text), "changed") {
            let _ = contract.check_all::<Value>(b"{\"user_id\": 1}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_record_is_never_a_panic_and_a_violation_names_its_contract(
        customer in customers(), cut in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut raw = serde_json::to_vec(&customer).unwrap();
        let at = cut.index(raw.len());
        raw[at] = byte;
        let contract = contract("test3");
        match contract.check_all::<Customer>(&raw) {
            // What passed is JSON by the reference parser too.
            Ok(_) => { serde_json::from_slice::<Value>(&raw).unwrap(); }
            Err(violations) => {
                prop_assert!(!violations.is_empty());
                prop_assert!(violations.iter().all(|violation| violation.rule.starts_with("test3/")));
                prop_assert_eq!(&contract.check::<Customer>(&raw).unwrap_err(), &violations[0]);
            }
        }
        raw.truncate(at);
        prop_assert!(contract.check::<Customer>(&raw).is_err());
    }

    #[test]
    fn every_valid_customer_goes_round(customer in customers()) {
        let raw = serde_json::to_vec(&customer).unwrap();
        for topic in ["costumerchurn", "test3"] {
            prop_assert_eq!(&contract(topic).check::<Customer>(&raw).unwrap(), &customer);
        }
    }

    #[test]
    fn every_valid_page_view_goes_round(
        name in "P[0-9]{1,3}", user in "U[0-9]{1,9}", date in 0_i64..253_402_300_799_999, duration in 0_i64..=86_400_000,
    ) {
        let event = PageEvent { name, user, date, duration };
        let raw = serde_json::to_vec(&event).unwrap();
        for topic in ["R1", "R2"] {
            prop_assert_eq!(&contract(topic).check::<PageEvent>(&raw).unwrap(), &event);
        }
    }

    #[test]
    fn every_purchase_above_zero_passes_and_no_other(price in -1e6..1e6) {
        let raw = format!(r#"{{"timestamp":"2025-06-15T15:06:40","user_id":"u","event_type":"achat","session_id":"s","product":"p","price":{price}}}"#);
        prop_assert_eq!(contract("evenements").check::<ShopEvent>(raw.as_bytes()).is_ok(), price > 0.0);
    }
}

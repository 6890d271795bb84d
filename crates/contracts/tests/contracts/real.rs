//! The real data of the repository passes, and comes back the same.

use serde_json::{Value, json};
use vigie_domain::{Customer, EventType, ShopEvent};

use crate::contract;

#[test]
fn every_customer_of_the_file_passes_as_numbers_and_as_texts() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/customer_churn.csv");
    let mut reader = csv::Reader::from_path(file).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut count = 0;
    for row in reader.records() {
        let row = row.unwrap();
        let texts: Value = header
            .iter()
            .zip(&row)
            .map(|(key, cell)| (key.to_owned(), json!(cell)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let typed: Value = header
            .iter()
            .zip(&row)
            .map(|(key, cell)| {
                let number = cell.parse::<f64>().ok().map(|number| match key {
                    "Account_Manager" | "Churn" => json!(number as u8),
                    _ => json!(number),
                });
                (key.to_owned(), number.unwrap_or_else(|| json!(cell)))
            })
            .collect::<serde_json::Map<_, _>>()
            .into();
        for topic in ["costumerchurn", "test3"] {
            let contract = contract(topic);
            let from_texts: Customer = contract.check(texts.to_string().as_bytes()).unwrap();
            let from_typed: Customer = contract.check(typed.to_string().as_bytes()).unwrap();
            assert_eq!(from_texts, from_typed);
            // Written again by the program, it is the same record.
            let again = serde_json::to_vec(&from_typed).unwrap();
            assert_eq!(contract.check::<Customer>(&again).unwrap(), from_typed);
        }
        count += 1;
    }
    assert_eq!(count, 900);
}

#[test]
fn the_recorded_batch_passes_and_so_does_each_of_its_users() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/randomuser_response_111.json");
    let raw = std::fs::read(file).unwrap();
    let batch: Value = contract("random_user_data").check(&raw).unwrap();
    let users = batch["results"].as_array().unwrap();
    assert_eq!(users.len(), 111);
    let contract = contract("users");
    for user in users {
        let raw = serde_json::to_vec(user).unwrap();
        assert_eq!(&contract.check::<Value>(&raw).unwrap(), user);
    }
    assert!(contract.classification("name.first").is_personal());
    assert!(contract.classification("login.password").is_personal(), "what nobody classified is personal");
    assert!(!contract.classification("location.country").is_personal());
}

#[test]
fn every_type_of_shop_event_goes_round() {
    for event_type in EventType::ALL {
        let event = ShopEvent {
            timestamp: String::from("2025-06-15T15:06:40.123Z"),
            user_id: String::from("user1"),
            event_type,
            session_id: String::from("s"),
            page: (event_type == EventType::Navigation).then(|| String::from("/")),
            product: (event_type == EventType::Achat).then(|| String::from("é")),
            price: (event_type == EventType::Achat).then_some(10.0),
            query: (event_type == EventType::Recherche).then(String::new),
            products: (event_type == EventType::Panier).then(|| vec![String::from("a")]),
            text: (event_type == EventType::Commentaire).then(|| String::from("\"bien\"")),
        };
        let raw = serde_json::to_vec(&event).unwrap();
        assert_eq!(contract("evenements").check::<ShopEvent>(&raw).unwrap(), event);
    }
}

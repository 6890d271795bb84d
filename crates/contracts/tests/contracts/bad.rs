//! Bad input, one line a case: the record, and the rule that it must break.

use serde_json::Value;
use vigie_contracts::Contracts;
use vigie_domain::{Customer, PageEvent, ShopEvent};

use crate::contract;

const GOOD: &str = r#"{"Names":"Ann <script>alert(1)</script>","Age":42.0,"Total_Purchase":11066.8,"Account_Manager":0,"Years":7.22,"Num_Sites":8.0,"Onboard_date":"2013-08-30 07:00:40","Location":"10265 Elizabeth Mission","Company":"Harvey LLC"}"#;

/// The good customer with one piece of its text replaced.
fn customer(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn rules(topic: &str, raw: &[u8]) -> Vec<String> {
    match contract(topic).check_all::<Value>(raw) {
        Ok(_) => Vec::new(),
        Err(violations) => violations.into_iter().map(|violation| violation.rule).collect(),
    }
}

#[test]
fn each_kind_of_bad_customer_breaks_its_own_rule() {
    for (raw, rule) in [
        (customer("42.0", "-1"), "Age/range"),
        (customer("42.0", "131"), "Age/range"),
        (customer("42.0", "true"), "Age/type"),
        (customer("42.0", "\"forty\""), "Age/type"),
        (customer("42.0", "\"NaN\""), "Age/finite"),
        (customer("42.0", "\"inf\""), "Age/finite"),
        (customer("42.0", "null"), "Age/required"),
        (customer("42.0", "\" \""), "Age/required"),
        (customer("42.0", "[42]"), "Age/type"),
        (customer("42.0", "{\"a\":1}"), "Age/type"),
        (customer("\"Age\":42.0,", ""), "Age/required"),
        (customer("\"Age\":42.0,", "\"Age\":42.0,\"Age\":43.0,"), "Age/duplicate"),
        (customer("11066.8", "-0.01"), "Total_Purchase/range"),
        (customer("7.22", "151"), "Years/range"),
        (customer("8.0", "10001"), "Num_Sites/range"),
        (customer("\"Account_Manager\":0", "\"Account_Manager\":2"), "Account_Manager/one_of"),
        (customer("\"Account_Manager\":0", "\"Account_Manager\":0.5"), "Account_Manager/type"),
        (customer("\"Account_Manager\":0", "\"Account_Manager\":-1"), "Account_Manager/one_of"),
        (customer("2013-08-30 07:00:40", "30/08/2013"), "Onboard_date/iso8601"),
        (customer("2013-08-30 07:00:40", "2013-02-30 07:00:40"), "Onboard_date/iso8601"),
        (customer("Harvey LLC", "  "), "Company/not_blank"),
        (customer("Harvey LLC", &"x".repeat(201)), "Company/length"),
        (customer("\"Harvey LLC\"", "7"), "Company/type"),
        (customer("42.0", "NaN"), "json"),
        (customer("42.0", "1e999"), "json"),
        (customer("42.0", "Infinity"), "json"),
        (customer("Ann", "\\ud800"), "json"),
        (GOOD[..GOOD.len() - 5].to_owned(), "json"),
        (format!("{GOOD} {GOOD}"), "json"),
        (String::new(), "empty"),
        (String::from(" \n"), "empty"),
        (String::from("[]"), "type"),
        (String::from("null"), "type"),
        (String::from("\"text\""), "type"),
        (customer("Ann", &"a".repeat(10 << 20)), "size"),
        (format!("{{\"x\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000)), "depth"),
        (format!("{{\"x\":{}", "{\"x\":".repeat(100_000)), "depth"),
        ("[".repeat(500_000), "depth"),
    ] {
        let raw = raw.as_bytes();
        let first = contract("costumerchurn").check::<Customer>(raw).unwrap_err();
        let shown = String::from_utf8_lossy(&raw[..raw.len().min(300)]);
        // A list in place of the record is named before its depth.
        assert_eq!(first.rule, format!("costumerchurn/{rule}"), "{shown}: {first}");
        assert_ne!(first.reason, first.reason_fr, "{shown}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_named_by_their_place() {
    let raw = customer("Harvey", "Haxvey").into_bytes();
    let at = raw.windows(6).position(|window| window == b"Haxvey").unwrap() + 2;
    let mut raw = raw;
    raw[at] = 0xe9;
    let violation = contract("costumerchurn").check::<Customer>(&raw).unwrap_err();
    assert_eq!(violation.rule, "costumerchurn/utf-8");
    assert!(violation.reason.contains(&format!("byte {at} ")), "{}", violation.reason);
}

#[test]
fn what_is_odd_but_right_passes_unchanged() {
    let script = contract("costumerchurn").check::<Customer>(GOOD.as_bytes()).unwrap();
    assert_eq!(script.names.reveal(), "Ann <script>alert(1)</script>");
    for raw in [
        customer("42.0", "\"42.0\""),
        customer("42.0", "42"),
        customer("\"Account_Manager\":0", "\"Account_Manager\":0.0"),
        customer("\"Account_Manager\":0", "\"Account_Manager\":\"0\""),
        customer("\"Account_Manager\":0", "\"Account_Manager\":\"0.0\""),
        customer("\"Account_Manager\":0", "\"Churn\":\"\",\"Account_Manager\":0"),
        customer("\"Account_Manager\":0", "\"Churn\":null,\"Account_Manager\":0"),
        customer("\"Age\"", "\"surplus\":{\"a\":[1,{\"b\":null}]},\"Age\""),
        customer("2013-08-30 07:00:40", "2013-08-30T07:00:40Z"),
        format!("\u{feff}{GOOD}"),
        format!(" \n{GOOD}\n"),
    ] {
        let customer = contract("costumerchurn")
            .check::<Customer>(raw.as_bytes())
            .unwrap_or_else(|v| panic!("{raw}: {v}"));
        assert_eq!((customer.age, customer.account_manager, customer.churn), (42.0, 0, None), "{raw}");
    }
}

#[test]
fn shop_events_must_carry_what_their_type_needs() {
    let event = |rest: &str| {
        format!(r#"{{"timestamp":"2025-06-15T15:06:40Z","user_id":"user1","session_id":"s1",{rest}}}"#)
    };
    for (rest, expected) in [
        (r#""event_type":"achat","product":"p","price":10.5"#, None),
        (r#""price":10.5,"product":"p","event_type":"achat""#, None),
        (r#""event_type":"connexion""#, None),
        (r#""event_type":"panier","products":[]"#, None),
        (r#""event_type":"achat","product":"p""#, Some("price/required")),
        (r#""product":"p","event_type":"achat","price":null"#, Some("price/required")),
        (r#""event_type":"achat","price":1"#, Some("product/required")),
        (r#""event_type":"achat","product":"p","price":0"#, Some("price/range")),
        (r#""event_type":"achat","product":"p","price":-5"#, Some("price/range")),
        (r#""event_type":"achat","product":"p","price":"10""#, Some("price/type")),
        (r#""event_type":"navigation""#, Some("page/required")),
        (r#""event_type":"recherche""#, Some("query/required")),
        (r#""event_type":"panier","products":["a",1]"#, Some("products[]/type")),
        (r#""event_type":"panier","products":["a",null]"#, Some("products[]/type")),
        (r#""event_type":"panier","products":"a""#, Some("products/type")),
        (r#""event_type":"commentaire""#, Some("text/required")),
        (r#""event_type":"Achat""#, Some("event_type/one_of")),
        (r#""event_type":null"#, Some("event_type/required")),
    ] {
        let raw = event(rest);
        let rule =
            contract("evenements").check::<ShopEvent>(raw.as_bytes()).err().map(|violation| violation.rule);
        assert_eq!(rule, expected.map(|rule| format!("evenements/{rule}")), "{raw}");
    }
}

#[test]
fn all_violations_are_listed_in_order_and_in_both_languages() {
    let raw = customer("42.0", "-1").replace("\"Company\":\"Harvey LLC\"", "\"Company\":\"\",\"Compagny\":1");
    assert_eq!(
        rules("costumerchurn", raw.as_bytes()),
        ["costumerchurn/Age/range", "costumerchurn/Company/not_blank"]
    );
    let form = contract("test3").check_all::<Value>(raw.as_bytes()).unwrap_err();
    let told: Vec<_> =
        form.iter().map(|v| (v.field.as_deref().unwrap(), v.message_en(), v.message_fr())).collect();
    assert_eq!(
        told[0],
        (
            "Age",
            "Age is -1; it must be at least 0 and at most 130",
            "Age vaut -1 ; il faut au moins 0 et au plus 130",
        )
    );
    assert_eq!(told[1].0, "Company");
    assert_eq!(form[2].rule, "test3/Compagny/unknown");
    // However many there are, the list is bounded.
    let many: String = (0..1_000).map(|n| format!("\"x{n}\":0,")).collect();
    let raw = GOOD.replacen('{', &format!("{{{many}"), 1);
    assert_eq!(rules("test3", raw.as_bytes()).len(), 64);
}

#[test]
fn unknown_fields_that_pass_are_counted_and_the_count_is_bounded() {
    // One of its own: other tests count unknown fields too.
    let contract = Contracts::built_in().unwrap().get("costumerchurn");
    for n in 0..200 {
        let raw = customer("\"Age\"", &format!("\"extra{}\":1,\"Age\"", n % 100));
        contract.check::<Customer>(raw.as_bytes()).unwrap();
    }
    let seen = contract.unknown_seen();
    assert_eq!(seen.len(), 64);
    assert_eq!(seen["extra0"], 2);
}

#[test]
fn reasons_do_not_repeat_personal_values() {
    let user = |age: &str, uuid: &str| {
        format!(
            r#"{{"gender":"male","name":{{"first":"Leon","last":"Nichols"}},"location":{{"country":"Australia"}},"email":"leon@example.com","login":{{"uuid":"{uuid}"}},"dob":{{"age":{age}}},"registered":{{"date":"2004-04-28T15:02:18.841Z"}}}}"#
        )
    };
    let violation = contract("users").check::<Value>(user("131", "9a723211-0e87").as_bytes()).unwrap_err();
    assert_eq!(violation.rule, "users/dob.age/range");
    assert!(!violation.reason.contains("131"), "{violation}");
    // The typed parse is stricter than the contract here; its message must not leak the value either.
    #[derive(Debug, serde::Deserialize)]
    struct Strict {
        #[expect(dead_code, reason = "only the failure to read it matters")]
        email: u32,
    }
    let violation = contract("users").check::<Strict>(user("31", "9a723211-0e87").as_bytes()).unwrap_err();
    assert_eq!(violation.rule, "users/form");
    assert!(!violation.reason.contains("leon"), "{violation}");
}

#[test]
fn the_typed_path_gives_the_same_answers() {
    let contract = contract("R2");
    let rules = |event: &PageEvent| {
        (!(0..=86_400_000).contains(&event.duration))
            .then(|| vigie_contracts::Violation::new("R2/duration/range", None, "out of range"))
    };
    let page =
        |duration: &str| format!(r#"{{"name":"P1","user":"U1","date":1750000000000,"duration":{duration}}}"#);
    assert_eq!(contract.check_typed(page("5").as_bytes(), rules).unwrap().duration, 5);
    for duration in ["-1", "\"5\"", "86400001", "null", "1.5", "{"] {
        let raw = page(duration);
        let fast = contract.check_typed::<PageEvent>(raw.as_bytes(), rules).unwrap_err();
        let slow = contract.check::<PageEvent>(raw.as_bytes()).unwrap_err();
        assert_eq!(fast, slow, "{raw}");
    }
}

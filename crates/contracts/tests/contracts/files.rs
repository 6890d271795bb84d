//! Contract files: those that come with the program, and wrong ones.

use vigie_contracts::{Classification, Contract, Contracts, Retention};

const HEAD: &str = "apiVersion: v3.1.0\nkind: DataContract\nid: t\nversion: 1.0.0\nstatus: active\nschema:\n  - name: t\n    logicalType: object\n    properties:\n";

#[test]
fn the_built_in_contracts_say_who_answers_and_how_long_records_are_kept() {
    let contracts = Contracts::built_in().unwrap();
    let names: Vec<_> = contracts.iter().map(|contract| contract.name().to_owned()).collect();
    assert_eq!(
        names,
        ["R1", "R2", "costumerchurn", "evenements", "outcomes", "random_user_data", "test3", "users"]
    );
    for contract in contracts.iter() {
        let people = contract.people();
        for person in [&people.owner, &people.steward, &people.engineer] {
            assert!(!person.is_empty(), "{}", contract.name());
        }
        assert!(matches!(contract.retention(), Retention::Days(days) if days > 0), "{}", contract.name());
        assert!(!contract.purpose().is_empty());
        assert!(!contract.fields().is_empty());
    }
    let churn = contracts.get("costumerchurn");
    assert_eq!(churn.classification("Names"), Classification::Confidential);
    assert_eq!(churn.classification("Age"), Classification::Internal);
    // A topic without a contract accepts any JSON, and only JSON.
    assert!(contracts.find("nothing").is_none());
    let open = contracts.get("nothing");
    open.check::<serde_json::Value>(b"[1]").unwrap();
    assert_eq!(open.check::<serde_json::Value>(b"[1").unwrap_err().rule, "nothing/json");
}

#[test]
fn a_wrong_contract_file_is_refused_with_its_place() {
    for (body, expected) in [
        ("      - name: a\n        logicalType: strin\n", "t.yaml, a: logicalType strin; must be string"),
        ("      - name: a\n        classification: secret\n", "classification secret; must be public"),
        ("      - name: a\n        requird: true\n", "requird"),
        ("      - name: a\n        logicalTypeOptions:\n          minimun: 0\n", "minimun"),
        ("      - name: a\n        logicalTypeOptions:\n          pattern: a+\n", "pattern"),
        ("      - name: a\n      - name: a\n", "there already"),
        (
            "      - name: a\n        customProperties:\n          - property: notblank\n            value: true\n",
            "known are notBlank",
        ),
        (
            "      - name: a\n        customProperties:\n          - property: requiredWhen\n            value: {b: [c]}\n",
            "names `b`, which is not a field",
        ),
    ] {
        let error = Contract::from_yaml(&format!("{HEAD}{body}"), "t.yaml").unwrap_err().to_string();
        assert!(error.contains("t.yaml") && error.contains(expected), "{body}: {error}");
    }
    for text in [
        "",
        "a: [",
        "kind: DataContract",
        "apiVersion: v2.0\nkind: X\nid: t\nversion: 1\nstatus: a\nschema: []",
    ] {
        assert!(Contract::from_yaml(text, "t.yaml").unwrap_err().to_string().contains("t.yaml"), "{text}");
    }
}

#[test]
fn a_folder_overrides_and_adds() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file(
        "r2.yaml",
        &format!("{}      - name: name\n        required: true\n", HEAD.replace("name: t\n", "name: R2\n")),
    );
    file("own.yml", &format!("{}      - name: x\n", HEAD.replace("name: t\n", "name: own\n")));
    file("notes.txt", "not a contract");
    let contracts = Contracts::load_folder(folder.path()).unwrap();
    contracts.get("R2").check::<serde_json::Value>(br#"{"name":1}"#).unwrap();
    assert!(contracts.find("own").is_some());
    assert!(contracts.find("evenements").is_some());
    file("bad.yaml", "{");
    let error = Contracts::load_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("bad.yaml"), "{error}");
    let missing = folder.path().join("missing");
    let error = Contracts::load_folder(&missing).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("check the path"), "{error}");
}

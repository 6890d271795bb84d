//! The form over HTTP: bad fields are named in both languages, script stays text, and everybody gets their own answer.

use std::collections::BTreeMap;
use std::sync::Barrier;

use serde_json::{Value, json};

use super::{Place, Program, customer, http};

const QUIET: [&str; 1] = ["run"];

/// The fields that the answer finds fault with; each says so in both languages.
#[track_caller]
fn refused(program: &Program, body: &Value) -> BTreeMap<String, (String, String)> {
    let problem = program.post("form", &body.to_string()).problem(422);
    let errors = problem["errors"].as_array().unwrap().iter().map(|error| {
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        (text("field"), (text("message_fr"), text("message_en")))
    });
    let errors: BTreeMap<_, _> = errors.collect();
    for (field, (fr, en)) in &errors {
        assert!(
            fr != en && fr.contains(field.as_str()) && en.contains(field.as_str()),
            "{field}: {fr} / {en}"
        );
    }
    errors
}

fn with(changes: &Value) -> Value {
    let mut form = customer("Ann Example", 40);
    form.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    form
}

#[test]
fn form_empty_negative_and_absurd_values_are_named_by_field_in_both_languages() {
    let place = Place::new();
    let mut program = Program::start(&place, &QUIET);
    let all = [
        "Names",
        "Age",
        "Total_Purchase",
        "Account_Manager",
        "Years",
        "Num_Sites",
        "Onboard_date",
        "Location",
        "Company",
    ];
    let mut missing: Vec<String> = refused(&program, &json!({})).into_keys().collect();
    missing.sort_by_key(|field| all.iter().position(|name| name == field));
    assert_eq!(missing, all);
    for (changes, field, says_fr, says_en) in [
        (json!({"Names": "  ", "Company": ""}), "Names", "vide", "blank"),
        (json!({"Age": -3}), "Age", "au moins 0", "at least 0"),
        (json!({"Age": 1_000}), "Age", "au plus 130", "at most 130"),
        (json!({"Total_Purchase": 1e300}), "Total_Purchase", "au plus", "at most"),
        (json!({"Account_Manager": 7}), "Account_Manager", "0, 1", "0, 1"),
        (json!({"Years": "many"}), "Years", "nombre", "number"),
        (json!({"Num_Sites": null}), "Num_Sites", "obligatoire", "mandatory"),
        (json!({"Onboard_date": "yesterday"}), "Onboard_date", "ISO 8601", "ISO 8601"),
        (json!({"Company": "x".repeat(300)}), "Company", "200", "200"),
        (json!({"Favourite_colour": "blue"}), "Favourite_colour", "", ""),
    ] {
        let errors = refused(&program, &with(&changes));
        let (fr, en) = errors.get(field).unwrap_or_else(|| panic!("{changes}: {errors:?}"));
        assert!(fr.contains(says_fr) && en.contains(says_en), "{changes}: {fr} / {en}");
        assert_eq!(errors.len(), changes.as_object().unwrap().len(), "{changes}: only these: {errors:?}");
    }
    program.is_alive();
    assert_eq!(program.api("customers")["total"], 0, "nothing of it was published");
    assert_eq!(program.api("overview")["anomalies"], 0);
}

#[test]
fn form_that_is_no_form_is_refused_and_the_next_one_is_answered() {
    let place = Place::new();
    let mut program = Program::start(&place, &QUIET);
    for (body, status) in [
        (String::new(), 400),
        (String::from("Names=Ann&Age=3"), 400),
        (customer("Ann", 40).to_string().replace('}', ""), 400),
        (String::from("[]"), 422),
        (format!("{{\"Names\":\"{}\"}}", "x".repeat(2 << 20)), 413),
    ] {
        let shown: String = body.chars().take(40).collect();
        let answer = http::request(&program.address, "POST", "/api/v1/form", Some(&body));
        match answer {
            Ok(answer) => drop(answer.problem(status)),
            // What is too large is not read to its end, so the connection may be reset.
            Err(error) => assert!(status == 413, "{shown}: {error}"),
        }
    }
    assert_eq!(program.post("form", &customer("Ann", 40).to_string()).status, 200);
    program.is_alive();
}

#[test]
fn form_script_tags_stay_text() {
    let place = Place::new();
    let program = Program::start(&place, &QUIET);
    let name = "<script>alert('x')</script>";
    let company = "\"><img src=x onerror=alert(1)>";
    let form = with(&json!({"Names": name, "Company": company}));
    let answer = program.post("form", &form.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = answer.json()["score"]["customer_id"].as_str().unwrap().to_owned();
    program.until("the customer is stored", "customers", |found| found["total"] == 1);
    let answer = program.get(&format!("/api/v1/customers/{id}"));
    // JSON that no browser takes for a page, and no page that would run it.
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    assert!(answer.head.contains("x-content-type-options: nosniff"), "{answer:?}");
    assert!(answer.head.contains("default-src 'self'") && !answer.head.contains("unsafe"), "{answer:?}");
    let stored = &answer.json()["customer"];
    assert_eq!((stored["Names"].as_str(), stored["Company"].as_str()), (Some(name), Some(company)));
}

#[test]
fn form_fifty_at_once_each_gets_its_own_answer() {
    let place = Place::new();
    let program = Program::start(&place, &QUIET);
    let forms: Vec<Value> = (0..50_u32).map(|i| customer(&format!("Person {i}"), 20 + i)).collect();
    let together = Barrier::new(forms.len());
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let (together, address) = (&together, &program.address);
        let submit = move |form: &Value| {
            together.wait();
            http::request(address, "POST", "/api/v1/form", Some(&form.to_string())).unwrap()
        };
        let threads: Vec<_> = forms.iter().map(|form| scope.spawn(move || submit(form))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().json()).collect()
    });
    let mut ids = std::collections::BTreeSet::new();
    for (form, answer) in forms.iter().zip(&answers) {
        assert_eq!(answer["score"]["features"]["Age"].as_f64(), form["Age"].as_f64(), "{form} got {answer}");
        assert_eq!(answer["score"]["correlation_id"], answer["correlation_id"]);
        ids.insert(answer["correlation_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), forms.len());
    // The older, the likelier to leave: so the answers differ, and each is that of its own record.
    let probability = |answer: &Value| answer["score"]["probability"].as_f64().unwrap();
    for pair in answers.windows(2) {
        assert!(probability(&pair[0]) < probability(&pair[1]), "{pair:#?}");
    }
    program.until("all are stored", "customers", |found| found["total"] == 50);
    assert_eq!(program.counts_are_right()["equal"], true);
}

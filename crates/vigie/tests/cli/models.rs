//! `vigie train` and `vigie score`.

use super::{Place, data, text};

const FIVE: &str = "Age,Total_Purchase,Account_Manager,Years,Num_Sites";

fn trained(place: &Place) {
    let table = data("customer_churn.csv");
    let ended = place
        .run(&["train", text(&table), "--target", "Churn", "--columns", FIVE, "--out", "m.vigie"])
        .with(0);
    assert!(ended.out.contains("AUC") && ended.out.contains("written to m.vigie"), "{}", ended.out);
}

#[test]
fn a_model_is_trained_and_scores_rows_in_order_with_all_their_columns() {
    let place = Place::new();
    trained(&place);
    let file = data("new_customers.csv");
    place.run(&["score", "m.vigie", text(&file), "--out", "s.csv", "--lang", "fr"]).with(0);
    let mut reader = csv::Reader::from_path(place.path("s.csv")).unwrap();
    let header: Vec<String> = reader.headers().unwrap().iter().map(String::from).collect();
    assert_eq!(header.len(), 12);
    assert_eq!(header[9..], ["probability", "verdict", "reasons"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let names: Vec<&str> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(
        names,
        [
            "Andrew Mccall",
            "Michele Wright",
            "Jeremy Chang",
            "Megan Ferguson",
            "Taylor Young",
            "Jessica Drake"
        ]
    );
    // The unpenalised fit says 0.0978, 0.9980, 0.9774, 0.9939, 0.2488, 0.8442; the calibrated model is near it.
    for (row, expected) in rows.iter().zip([0.0978, 0.9980, 0.9774, 0.9939, 0.2488, 0.8442]) {
        let probability: f64 = row[9].parse().unwrap();
        assert!((probability - expected).abs() < 0.06, "{probability} in place of {expected}");
        assert_eq!(&row[10], if probability >= 0.5 { "will_churn" } else { "will_stay" });
        assert!(!row[11].is_empty());
    }
    let piped = place.run(&["score", "m.vigie", text(&file), "--out", "-"]).with(0);
    assert_eq!(piped.out.lines().count(), 7);
}

#[test]
fn the_same_seed_gives_the_same_file() {
    let place = Place::new();
    trained(&place);
    let first = std::fs::read(place.path("m.vigie")).unwrap();
    trained(&place);
    assert!(first == std::fs::read(place.path("m.vigie")).unwrap());
}

#[test]
fn a_dry_run_explains_each_column_and_writes_nothing() {
    let place = Place::new();
    let table = data("customer_churn.csv");
    let ended = place.run(&["train", text(&table), "--target", "Churn", "--dry-run"]).with(0);
    assert!(ended.out.contains("Names") && ended.out.contains("nothing was trained"), "{}", ended.out);
    let plan = place.run(&["train", text(&table), "--target", "Churn", "--dry-run", "--json"]).with(0).json();
    assert_eq!(plan["columns"].as_array().unwrap().len(), 10);
    assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 0);
}

#[test]
fn rows_that_cannot_be_scored_stay_in_their_place_and_say_why() {
    let place = Place::new();
    trained(&place);
    place.file(
        "in.csv",
        "id,Age,Total_Purchase,Account_Manager,Years,Num_Sites\n1,40,1000,0,5,8\n2,forty,1000,0,5,8\n3,40,1000\n4,41,1000,0,5,8\n",
    );
    place
        .run(&["score", "m.vigie", "in.csv", "--out", "s.csv"])
        .with(3)
        .says(&["line 3", "line 4", "3 fields"]);
    let mut reader = csv::Reader::from_path(place.path("s.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    let scored: Vec<bool> = rows.iter().map(|row| !row[6].is_empty()).collect();
    assert_eq!(scored, [true, false, false, true]);
    assert!(rows[1][8].contains("not scored") && rows[1][8].contains("forty"), "{:?}", rows[1]);
    assert_eq!(&rows[3][0], "4");
}

#[test]
fn what_is_wrong_with_a_table_or_a_model_is_said() {
    let place = Place::new();
    trained(&place);
    let table = data("customer_churn.csv");
    let out = ["--out", "x.vigie"];
    let train = |more: &[&str]| place.run(&[&["train", text(&table)], more, &out[..]].concat());
    train(&["--target", "Churned"]).with(3).says(&["Churned", "Churn"]);
    train(&["--target", "Company"]).with(3).says(&["Company"]);
    train(&["--target", "Churn", "--columns", "Agee"]).with(3).says(&["Agee"]);
    train(&["--target", "Churn", "--threshold", "2"]).with(2).says(&["between 0 and 1"]);
    assert!(!place.path("x.vigie").exists());
    place.run(&["train", text(&table), "--target", "Churn"]).with(2).says(&["--out"]);
    place.file("broken.csv", "a,b\n1,2\n1,2,3\n");
    place
        .run(&["train", "broken.csv", "--target", "b", "--out", "x.vigie"])
        .with(3)
        .says(&["line 3", "3 fields"]);
    place.file("in.csv", "Ages,Total_Purchase,Account_Manager,Years,Num_Sites\n1,1,1,1,1\n");
    place.run(&["score", "m.vigie", "in.csv", "--out", "s.csv"]).with(3).says(&["`Age` (is it `Ages`?)"]);
    let damaged = std::fs::read(place.path("m.vigie")).unwrap();
    place.file("m2.vigie", &damaged[..damaged.len() / 2]);
    place.run(&["score", "m2.vigie", "in.csv", "--out", "s.csv"]).with(3).says(&["m2.vigie"]);
    place
        .run(&["score", "none.vigie", "in.csv", "--out", "s.csv"])
        .with(3)
        .says(&["none.vigie", "vigie train"]);
    assert!(!place.path("s.csv").exists() && !place.path("s.part").exists());
}

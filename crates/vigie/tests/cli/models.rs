//! `vigie train`, `score`, `evaluate`, `explain` and `model card`.

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

#[test]
fn a_model_is_evaluated_on_a_table_of_outcomes() {
    let place = Place::new();
    trained(&place);
    let table = data("customer_churn.csv");
    let ended = place.run(&["evaluate", "m.vigie", text(&table)]).with(0);
    assert!(
        ended.out.contains("900 rows") && ended.out.contains("AUC") && ended.out.contains("IN TRAINING"),
        "{ended:#?}"
    );
    let told = place.run(&["evaluate", "m.vigie", text(&table), "--json"]).with(0).json();
    let auc = told["metrics"]["auc"]["estimate"].as_f64().unwrap();
    assert!(auc > 0.9 && told["metrics"]["gains"].as_array().unwrap().len() == 9, "{told}");
    assert_eq!(told["drift"].as_array().unwrap().len(), 5);
    place
        .run(&["evaluate", "m.vigie", text(&data("new_customers.csv"))])
        .with(3)
        .says(&["no column \"Churn\""]);
    let mut rows = std::fs::read_to_string(&table).unwrap();
    rows.push_str("Bo,forty,1,0,1,8,2013-08-30 07:00:40,Road,Acme,1\n");
    place.file("odd.csv", rows);
    place.run(&["evaluate", "m.vigie", "odd.csv", "--lang", "fr"]).with(3).says(&[
        "row 901",
        "forty",
        "1 ligne(s)",
    ]);
}

#[test]
fn one_row_is_explained_with_what_changed_and_what_would() {
    let place = Place::new();
    trained(&place);
    let new = data("new_customers.csv");
    let ended = place.run(&["explain", "m.vigie", text(&new), "--row", "2", "--lang", "fr"]).with(0);
    assert!(
        ended.out.contains("Le nombre de sites vaut 15")
            && ended.out.contains("Avec un chargé de compte (48,1"),
        "{ended:#?}"
    );
    assert!(!ended.out.contains("Num_Sites") && !ended.out.contains("Account_Manager"), "{}", ended.out);
    let told = place
        .run(&["explain", "m.vigie", text(&new), "--row", "2", "--json", "--below", "0.3"])
        .with(0)
        .json();
    let explanation = &told["explanation"];
    let parts: f64 =
        explanation["reasons"].as_array().unwrap().iter().map(|r| r["contribution"].as_f64().unwrap()).sum();
    let sum = explanation["base_log_odds"].as_f64().unwrap() + parts;
    assert!((sum - explanation["score"]["log_odds"].as_f64().unwrap()).abs() < 1e-9, "{told}");
    let smallest = &told["changes_below"][0];
    assert!(smallest["probability"].as_f64().unwrap() <= 0.3, "{told}");
    let changed =
        place.run(&["explain", "m.vigie", text(&new), "--row", "2", "--set", "Num_Sites=8"]).with(0);
    assert!(changed.out.contains("Number of sites went from 15 to 8"), "{}", changed.out);
    // Without a table: the one that it was trained on, as long as it is there.
    let own = place.run(&["explain", "m.vigie", "--row", "1"]).with(0);
    assert!(own.out.contains("Row 1:") && !own.err.contains("no longer the table"), "{own:#?}");
    place.run(&["explain", "m.vigie", "--row", "0"]).with(5).says(&["rows 1 to 900"]);
    place.run(&["explain", "m.vigie", "--row", "901"]).with(5).says(&["no row 901"]);
    place
        .run(&["explain", "m.vigie", text(&new), "--row", "1", "--set", "Sites=3"])
        .with(3)
        .says(&["Sites", "Num_Sites"]);
    place
        .run(&["explain", "m.vigie", text(&new), "--row", "1", "--set", "Sites"])
        .with(2)
        .says(&["COLUMN=VALUE"]);
    let before = std::fs::read_to_string(&new).unwrap().replace("9.28,15.0", "9.28,8.0");
    place.file("before.csv", before);
    let why = place.run(&["explain", "m.vigie", text(&new), "--row", "2", "--before", "before.csv"]).with(0);
    assert!(why.out.contains("went from 8 to 15"), "{}", why.out);
}

#[test]
fn a_table_without_the_target_is_scored_with_all_its_columns() {
    let place = Place::new();
    let mut rows = String::from("id;since;plan;spent;gone\n");
    for i in 0..400_u32 {
        let spent = i * 7919 % 1009;
        let gone = spent + 150 * (i % 3) > 700;
        rows.push_str(&format!(
            "k{i:04};{:02}/{:02}/20{:02};{};\"{},{:02} €\";{}\n",
            1 + i % 28,
            1 + i % 12,
            15 + i % 8,
            ["basic", "gold", "pro"][i as usize % 3],
            spent,
            i % 100,
            if gone { "oui" } else { "non" }
        ));
    }
    place.file("in.csv", &rows);
    let train = [
        "train",
        "in.csv",
        "--target",
        "gone",
        "--as-of",
        "2024-01-01",
        "--out",
        "m.vigie",
        "--budget-seconds",
        "3",
    ];
    let ended = place.run(&train).with(0);
    assert!(ended.out.contains("AUC"), "{ended:#?}");
    place.file("new.csv", "spent;plan;note;since\n\"950,00 €\";pro;hello, you;30/06/2021\n\"1 250,5\";platinum;;\n;basic;\"a; b\";01/01/2020\n");
    place.run(&["score", "m.vigie", "new.csv", "--out", "s.csv", "--reasons", "2"]).with(0);
    let mut reader = csv::Reader::from_path(place.path("s.csv")).unwrap();
    assert_eq!(
        reader.headers().unwrap().iter().collect::<Vec<_>>(),
        ["spent", "plan", "note", "since", "probability", "verdict", "reasons"]
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|row| &row[2]).collect::<Vec<_>>(), ["hello, you", "", "a; b"]);
    let risk: Vec<f64> = rows.iter().map(|row| row[4].parse().unwrap()).collect();
    assert!(risk[0] > 0.8 && risk.iter().all(|p| (0.0..=1.0).contains(p)), "{risk:?}");
    assert!(rows.iter().all(|row| row[6].matches(": ").count() >= 2), "{rows:?}");
}

#[test]
fn roles_come_from_a_file_and_from_a_dry_run() {
    let place = Place::new();
    let table = data("customer_churn.csv");
    place.file("roles.toml", "Age = \"left_out\"\n\"Onboard_date\" = { role = \"date\", dates = \"year_first\" }\nAccount_Manager = \"treatment\"\n");
    let dry = |roles: &str| {
        let args = [
            "train",
            text(&table),
            "--target",
            "Churn",
            "--as-of",
            "2017-01-01",
            "--roles",
            roles,
            "--dry-run",
            "--json",
        ];
        place.run(&args)
    };
    let plan = dry("roles.toml").with(0).json();
    let role = |plan: &serde_json::Value, name: &str| {
        plan["columns"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap()["role"].clone()
    };
    assert_eq!(role(&plan, "Age"), "left_out");
    assert_eq!(role(&plan, "Account_Manager"), "treatment");
    place.file("plan.json", plan.to_string());
    assert_eq!(
        dry("plan.json").with(0).json()["columns"][1]["role"],
        "left_out",
        "the dry run's own words serve"
    );
    place.file("bad.toml", "Age = \"numbre\"\n");
    dry("bad.toml").with(3).says(&["bad.toml", "left_out"]);
    place.file("typo.toml", "Agee = \"number\"\n");
    dry("typo.toml").with(3).says(&["Agee", "Age"]);
}

#[test]
fn training_with_an_action_measures_its_effect_and_writes_the_card() {
    let place = Place::new();
    let table = data("customer_churn.csv");
    let args = [
        "train",
        text(&table),
        "--target",
        "Churn",
        "--treatment",
        "Account_Manager",
        "--budget-seconds",
        "2",
    ];
    let ended = place
        .run(&[&args[..], &["--out", "m.vigie", "--card", "card.html", "--lang", "fr"]].concat())
        .with(0);
    assert!(
        ended.out.contains("PLUS souvent") && ended.out.contains("+5,3 points [+0,4 ; +10,2]"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("déconseillée pour les plus à risque"), "{}", ended.out);
    let page = std::fs::read_to_string(place.path("card.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("lang=\"fr\""));
    let card = place.run(&["model", "card", "m.vigie", "--json"]).with(0).json();
    assert_eq!(card["effect"]["verdict"], "harmful");
    assert_eq!(card["effect"]["rule"], "trial_only");
    place.run(&["model", "card", "m.vigie", "--out", "c.txt"]).with(0);
    assert!(std::fs::read_to_string(place.path("c.txt")).unwrap().contains("AUC"));
    place
        .run(&["train", text(&table), "--target", "Churn", "--budget-seconds", "0", "--out", "x"])
        .with(2)
        .says(&["above 0"]);
}

#[test]
fn odd_tables_end_with_a_model_or_with_the_reason() {
    let place = Place::new();
    let train = |name: &str, rows: String| {
        place.file(name, rows);
        place.run(&["train", name, "--target", "churn", "--out", "o.vigie", "--budget-seconds", "2"])
    };
    let rows = |n: usize, row: &dyn Fn(usize) -> String| (0..n).map(|i| row(i) + "\n").collect::<String>();
    let noisy = |i: usize| i * 7919 % 1009;
    let twenty = format!("usage,churn\n{}", rows(20, &|i| format!("{},{}", noisy(i), i % 2)));
    train("twenty.csv", twenty).with(0);
    let one = format!("usage,churn\n{}", rows(50, &|i| format!("{},1", noisy(i))));
    train("one.csv", one).with(3).says(&["both answers are needed"]);
    let constant = format!("usage,churn\n{}", rows(50, &|i| format!("7,{}", i % 2)));
    train("constant.csv", constant)
        .with(3)
        .says(&["no column is left to learn from", "the same in each row"]);
    let three = format!("usage,churn\n{}", rows(60, &|i| format!("{},{}", noisy(i), ["a", "b", "c"][i % 3])));
    train("three.csv", three).with(3).says(&["3 values", "name the one that means yes"]);
    train("empty.csv", String::from("usage,churn\n")).with(3);
    train("none.csv", String::new()).with(3).says(&["empty"]);
    let names: Vec<String> = (0..1_999).map(|i| format!("x{i}")).collect();
    let wide = format!(
        "{},churn\n{}",
        names.join(","),
        rows(60, &|i| {
            let cells: Vec<String> =
                (0..1_999).map(|j| (noisy(i * 31 + j * 17 + 1) % 97).to_string()).collect();
            format!("{},{}", cells.join(","), i % 2)
        })
    );
    let ended = train("wide.csv", wide).with(0);
    assert!(
        ended.out.contains("too many for 60 rows"),
        "{}",
        ended.out.chars().take(500).collect::<String>()
    );
    let copies = format!(
        "usage,churn\n{}",
        rows(80, &|i| format!("{},{}", noisy(i % 40), u8::from(noisy(i % 40) > 500 || i % 40 < 3)))
    );
    train("copies.csv", copies).says(&["40 rows repeat an earlier row"]);
}

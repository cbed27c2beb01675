//! Long merged lists come page by page, in both eras, and a cursor that is no longer valid is refused.

use serde_json::{Value, json};

use super::super::fake::{Fake, House, caller};

fn names(list: &Value) -> Vec<String> {
    let items = list["result"]["tools"].as_array().unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_long_list_comes_in_pages_and_a_cursor_whose_item_is_gone_is_refused() {
    let (house, fakes) = (House::open().await, [Fake::new(&[]), Fake::new(&["last"])]);
    let tools: Vec<String> = (0..1200).map(|n| format!("t{n:04}")).collect();
    fakes[0].set_tools(&tools.iter().map(String::as_str).collect::<Vec<_>>());
    let server = house.add("a", "a", &fakes[0]).await;
    house.add("b", "b", &fakes[1]).await;
    let legacy = house.client("", json!({})).await;
    let principal = caller().principal;
    let ask = async |modern: bool, params: Value| -> Value {
        if modern {
            return house.modern(&principal, "", "tools/list", params).await.pop().unwrap();
        }
        legacy.request(1, "tools/list", params).await.pop().unwrap()
    };
    let mut cursors = Vec::new();
    for modern in [false, true] {
        let first = ask(modern, json!({})).await;
        assert_eq!(names(&first).len(), 1000);
        let cursor = first["result"]["nextCursor"].as_str().unwrap().to_owned();
        assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{cursor}");
        let second = ask(modern, json!({ "cursor": cursor })).await;
        assert!(second["result"].get("nextCursor").is_none());
        let all = [names(&first), names(&second)].concat();
        assert_eq!(
            (all.len(), &*all[999], &*all[1000], &*all[1200]),
            (1201, "a__t0999", "a__t1000", "b__last")
        );
        for wrong in [json!("nonsense"), json!(7), json!("YQpub3doZXJl")] {
            assert_eq!(ask(modern, json!({ "cursor": wrong })).await["code"], -32602, "{wrong}");
        }
        cursors.push(cursor);
    }
    assert_eq!(cursors[0], cursors[1], "the same place in the same list");
    // Changes to other items do not matter; the removal of the item that the cursor names does.
    let without =
        |gone: &str| -> Vec<&str> { tools.iter().map(String::as_str).filter(|name| *name != gone).collect() };
    for (gone, goes_on) in [("t0500", true), ("t0999", false)] {
        fakes[0].set_tools(&without(gone));
        house.gateway.discover(&caller(), server.id).await.unwrap();
        for modern in [false, true] {
            let next = ask(modern, json!({ "cursor": cursors[0] })).await;
            let came = next.get("result").map(|_| names(&next).len());
            assert_eq!(came, goes_on.then_some(201), "{gone}: {next:.200}");
        }
    }
}

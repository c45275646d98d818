"""Set-Cookie as responses write it."""

from http.cookies import CookieError, SimpleCookie

import pytest

from gateway.web.cookies import EXPIRED, set_cookie


def written(jar: SimpleCookie) -> list[str]:
    return [cookie.OutputString() for cookie in jar.values()]


def test_a_cookie_carries_its_attributes() -> None:
    jar = SimpleCookie()
    attributes = {"path": "/", "max-age": 60, "samesite": "Lax", "secure": True, "httponly": True}

    set_cookie(jar, "name", "value", attributes, partitioned=True)

    (line,) = written(jar)
    assert line.split("; ")[0] == "name=value"
    assert {*line.split("; ")[1:]} == {
        *("Path=/", "Max-Age=60", "SameSite=Lax", "Secure", "HttpOnly", "Partitioned"),
    }


def test_a_value_that_could_be_taken_for_an_attribute_is_quoted() -> None:
    jar = SimpleCookie()

    set_cookie(jar, "name", "a; Domain=evil.example", {"path": "/"}, partitioned=None)

    assert written(jar) == [r'name="a\073 Domain=evil.example"; Path=/']


@pytest.mark.parametrize("value", ["/; Domain=evil.example", "/\r\nX: y", "/\x00"])
def test_an_attribute_that_would_begin_another_is_refused(value: str) -> None:
    jar = SimpleCookie()

    with pytest.raises(ValueError, match="Cookie attribute path"):
        set_cookie(jar, "name", "value", {"path": value}, partitioned=None)

    assert written(jar) == []


def test_a_name_that_is_no_token_is_refused() -> None:
    jar = SimpleCookie()

    with pytest.raises(CookieError):
        set_cookie(jar, "a b", "value", {"path": "/"}, partitioned=None)

    assert written(jar) == []


def test_setting_again_keeps_what_is_not_given_but_neither_max_age_nor_a_deletion() -> None:
    jar = SimpleCookie()
    first = {"path": "/", "max-age": 0, "expires": EXPIRED, "domain": "a.example"}
    set_cookie(jar, "name", "", first, partitioned=True)

    set_cookie(jar, "name", "new", {"path": "/", "domain": None}, partitioned=None)

    assert written(jar) == ["name=new; Domain=a.example; Path=/; Partitioned"]


def test_a_cookie_put_into_the_jar_by_hand_can_be_changed() -> None:
    jar = SimpleCookie()
    jar["name"] = "old"
    jar["name"]["secure"] = True

    set_cookie(jar, "name", "new", {"path": "/"}, partitioned=None)

    assert written(jar) == ["name=new; Path=/; Secure"]

"""Text in any encoding: told by a mark, UTF-8, or guessed and said."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import pytest

from aepipe.errors import SourceError
from aepipe.sources import encoding
from aepipe.sources.formats.streams import encoding_of

SAMPLES = {
    "windows-1252": "Die Straßenbahn fährt über die Brücke nach Köln,"
    " während die Müllers für fünf Euro Äpfel kaufen. "
    "Schöne Grüße aus München schickt die ganze Familie, und natürlich fragt die Großmutter nach dem Wetter.",
    "windows-1250": "Včera večer přišel můj přítel s manželkou a dětmi na návštěvu. Jedli jsme čerstvé koláče, pili "
    "horký čaj a povídali si o cestě do Žďáru. Další den jsme jeli na výlet do hor, kde byla velká zima.",
    "windows-1254": "Dün akşam arkadaşım eşi ve çocuklarıyla bize geldi. Taze börek yedik, sıcak çay içtik ve "
    "İstanbul'a yapacağımız yolculuğu konuştuk. Ertesi gün dağlara geziye gittik; orada hava çok soğuktu.",
    "windows-1251": "Вчера вечером мой друг пришёл к нам в гости с женой и детьми. Мы ели свежие пироги с грибами, "
    "пили горячий чай и говорили о поездке в Москву. На следующий день мы поехали в горы, где было холодно.",
    "koi8-r": "Вчера вечером мой друг пришёл к нам в гости с женой и детьми. Мы ели свежие пироги с грибами, пили "
    "горячий чай и говорили о поездке в Москву. На следующий день мы поехали в горы, где было очень холодно.",
    "windows-1253": "Χθες το βράδυ ο φίλος μου ήρθε στο σπίτι μας με τη γυναίκα του και τα παιδιά τους. Φάγαμε "
    "φρέσκιες πίτες με μανιτάρια, ήπιαμε ζεστό τσάι και μιλήσαμε για το ταξίδι στην Αθήνα, στα βουνά.",
    "cp932": "昨日の夜、友達が奥さんと子供たちを連れて家に遊びに来まし"
    "た。きのこの入った新しいパイを食べ、熱いお茶を飲みながら、"
    "東京への旅行について話しました。次の日は山へハイキングに行きましたが、とても寒くて雪が積もっていました。",
    "euc_jp": "昨日の夜、友達が奥さんと子供たちを連れて家に遊びに来まし"
    "た。きのこの入った新しいパイを食べ、熱いお茶を飲みながら、"
    "東京への旅行について話しました。次の日は山へハイキングに行きましたが、とても寒くて雪が積もっていました。",
    "gb18030": "昨天晚上,我的朋友带着妻子和孩子来我们家做客。我们吃了新鲜的蘑菇馅饼,喝了热茶,还谈了去北京旅行的事。"
    "第二天我们去山里郊游,那里非常冷,到处都是厚厚的雪。下个星期我们打算再去一次,希望天气会好一些。这本书是去年买的。",
    "big5": "昨天晚上,我的朋友帶著妻子和孩子來我們家做客。我們吃了新鮮的蘑菇餡餅,喝了熱茶,還談了去臺北旅行的事。"
    "第二天我們去山裡郊遊,那裡非常冷,到處都是厚厚的雪。下個星期我們打算再去一次,希望天氣會好一些。這本書是去年買的。",
    "cp949": "어제 저녁에 친구가 아내와 아이들을 데리고 우리 집에 놀러 "
    "왔습니다. 우리는 버섯이 들어간 신선한 파이를 먹고 뜨거운 "
    "차를 마시며 서울 여행에 대해 이야기했습니다. 다음 날에는 "
    "산으로 소풍을 갔는데 매우 추웠고 눈이 많이 쌓여 있었습니다.",
}
FRENCH = (
    "L'été dernier, nous avons séjourné près de la forêt, où les élèves préféraient étudier à l'ombre des chênes. "
    "Après le dîner, le maître d'hôtel apportait des pâtisseries françaises et un café très sucré."
)


@pytest.mark.parametrize("name", SAMPLES)
def test_old_encodings_are_guessed(name: str) -> None:
    text = SAMPLES[name]
    assert len(text.encode(name)) >= 180
    found, guess = encoding.decode(text.encode(name))
    assert (found, guess) == (text, name)
    assert encoding.of_stream(io.BytesIO(text.encode(name))) == name
    assert encoding.is_guess(guess)


def test_french_is_not_taken_for_central_european() -> None:
    assert encoding.decode(FRENCH.encode("cp1252")) == (FRENCH, "windows-1252")
    assert encoding.decode(FRENCH.encode("mac_roman")) == (FRENCH, "mac-roman")
    assert encoding.decode("Müller, Gómez, João, François, Søren, Zoë\n".encode("cp1252"))[1] == "windows-1252"


def test_a_single_letter_in_a_large_table_is_found() -> None:
    rows = "".join(f"Max{number},Bonn,{number}\n" for number in range(100_000))
    stream = io.BytesIO(f"name,city,size\n{rows}Müller,Köln,5\n".encode("latin-1"))
    assert encoding.of_stream(stream) == "windows-1252"


@pytest.mark.parametrize("name", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_unicode_is_no_guess(name: str) -> None:
    text = "Köln, 東京 and some more words in ASCII letters, as tables have them"
    found, told = encoding.decode(text.encode(name))
    assert found == text
    assert told == name or (name == "utf-8" and told == "utf-8")
    assert not encoding.is_guess(encoding.of_stream(io.BytesIO(text.encode(name))))


@pytest.mark.parametrize("data", [b"\x00\x01\x02\x03" * 50, b"PK\x03\x04\x00\x00", bytes(range(128, 256)) * 20])
def test_other_files_are_no_text(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not text: it has zero bytes|not in UTF-8: byte 0x80 at 0"):
        encoding.decode(data)


def test_damaged_utf8_stays_utf8() -> None:
    """A few bad bytes among many letters of UTF-8 do not make another encoding of it."""
    assert encoding.of_stream(io.BytesIO("é,ü\n1,ö\n".encode() * 50 + b"\xff\n")) == "utf-8"
    assert encoding.of_stream(io.BytesIO(b"a,b\n1,\xff\n")) == "utf-8"


def test_an_encoding_that_is_given_is_taken() -> None:
    assert encoding.decode("Łódź".encode("iso8859_2"), "iso-8859-2") == ("Łódź", "iso-8859-2")
    assert encoding.decode(b"\xef\xbb\xbfx", "utf-8")[0] == "x"
    with pytest.raises(ValueError, match="not in ASCII: byte 0xc3 at 0"):
        encoding.decode("é".encode(), "ascii")
    with pytest.raises(ValueError, match="there is no encoding 'klingon'"):
        encoding.decode(b"x", "klingon")
    with pytest.raises(SourceError, match="encoding 'klingon' is not known"):
        encoding.of_stream(io.BytesIO(b"x"), "klingon")


def test_guesses_are_said() -> None:
    assert encoding.notes_of({"utf-8": 4, "windows-1252": 3, "cp932": 1}) == [
        "1 file read as cp932; if that is wrong, say encoding = ... under [source]",
        "3 files read as windows-1252; if that is wrong, say encoding = ... under [source]",
    ]


FEW = {
    "windows-1251": "Москва Тула Казань Иванов Петрова красный зелёный заказ",
    "koi8-r": "Москва Тула Казань Иванов Петрова красный зелёный заказ",
    "cp866": "Москва Тула Казань Иванов Петрова красный зелёный заказ",
    "iso8859_5": "Москва Тула Казань Иванов Петрова красный зелёный заказ",
    "koi8-u": "Київ Львів Одеса Харків вулиця Шевченка прізвище червоний",
    "windows-1253": "Αθήνα Άννα Γιώργος Νίκος οδός όνομα επώνυμο παραγγελία",
    "iso8859_7": "Αθήνα Άννα Γιώργος Νίκος οδός όνομα επώνυμο παραγγελία",
    "windows-1255": "תל אביב ירושלים חיפה דוד שרה משה רחל רחוב מחיר משפחה",
    "windows-1256": "القاهرة دمشق بغداد محمد فاطمة شارع مدينة العائلة",
    "windows-1254": "İstanbul İzmir şehir isim yeşil kırmızı Yılmaz Çelik",
    "windows-1250": "Gdańsk Poznań Łódź imię żółty ulica Świątek miłość",
}


@pytest.mark.parametrize("name", FEW)
def test_a_small_table_of_a_few_words_is_read_or_refused_but_not_read_wrongly(name: str) -> None:
    """With eight words it is read; with each pair of them it is read, or the user is asked."""
    words = FEW[name].split()
    rows = [f"{number},{word}\n" for number, word in enumerate(words)]
    assert encoding.decode("".join(rows).encode(name))[0] == "".join(rows)
    assert sum(_is_wrong(one + two, name) for one, two in pairwise(rows)) <= 1


def _is_wrong(text: str, name: str) -> bool:
    try:
        return encoding.decode(text.encode(name))[0] != text
    except ValueError:
        return False


def test_a_table_whose_encoding_cannot_be_told_says_what_to_say(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a,b\nда,1\nнет,2\n".encode("cp1251"))
    with pytest.raises(SourceError, match=r"t\.csv: its encoding cannot be told, perhaps .*; say encoding = \.\.\."):
        encoding_of(tmp_path / "t.csv", None)
    assert encoding_of(tmp_path / "t.csv", "cp1251") == "cp1251"

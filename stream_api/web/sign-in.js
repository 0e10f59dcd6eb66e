/** The box in which a token is pasted, and the line that says who is signed in. */

export class SignIn {
  #box;
  #form;
  #token;
  #message;
  #user;

  /**
   * @param {Document} page
   * @param {import("./session.js").Session} session
   * @param {(claims: object|null) => void} onChange after signing in (claims) and out (null)
   */
  constructor(page, session, onChange) {
    this.session = session;
    this.#box = page.getElementById("sign-in");
    this.#form = page.getElementById("sign-in-form");
    this.#token = page.getElementById("token");
    this.#message = page.getElementById("sign-in-message");
    this.#user = page.getElementById("user");
    this.onChange = onChange;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    page.getElementById("sign-out").addEventListener("click", () => {
      session.signOut();
      this.#showUser();
      onChange(null);
    });
    this.#showUser();
  }

  get isOpen() {
    return !this.#box.hidden;
  }

  open(message = "") {
    const wasOpen = this.isOpen;
    this.#box.hidden = false;
    this.#message.textContent = message;
    // Only where nobody types yet: a refusal that comes again must not take the cursor.
    if (!wasOpen && document.activeElement === document.body) this.#token.focus();
  }

  close() {
    this.#box.hidden = true;
    this.#message.textContent = "";
    this.#token.value = "";
  }

  async #submit() {
    const button = this.#form.querySelector("button");
    button.disabled = true;
    try {
      const claims = await this.session.signIn(this.#token.value);
      this.close();
      this.#showUser();
      this.onChange(claims);
    } catch (error) {
      const lost = error instanceof TypeError;
      this.#message.textContent = lost ? "The server does not answer. Try again." : error.message;
      this.#token.focus();
    } finally {
      button.disabled = false;
    }
  }

  #showUser() {
    const { claims } = this.session;
    this.#user.parentElement.hidden = claims === null;
    const name = claims?.user ?? "signed in";
    this.#user.textContent = claims?.isAdmin ? `${name} (admin)` : name;
  }
}
